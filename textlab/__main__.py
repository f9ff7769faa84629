"""`python -m textlab`: the command line"""
from textlab.cli import main

if __name__ == '__main__': main()
