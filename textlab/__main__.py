"""`python -m textlab`"""
from textlab.cli import main

main()
