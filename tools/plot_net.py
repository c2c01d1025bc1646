"""`facesymbols plot` as a script."""

from recognition.cli import run
from recognition.commands.plot import main

if __name__ == '__main__':
    run(main)
