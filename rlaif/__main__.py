"""`python -m rlaif` is the command line, also where the program `rlaif` is not on the path (a notebook's kernel)."""

from cli import main

main()
