"""`facesymbols report` as a script."""

from recognition.cli import run
from recognition.commands.report import main

if __name__ == '__main__':
    run(main)
