"""The command line: one `textlab` command, one room per system"""
from textlab.cli.core import app, main, run, said, shell
from textlab.cli import corpus, theta, topicgcn, lm, search, codes, maps, bench
