"""`facesymbols search` as a script."""

from recognition.cli import run
from recognition.commands.search import main

if __name__ == '__main__':
    run(main)
