"""`facesymbols optimize` as a script."""

from recognition.cli import run
from recognition.commands.optimize import main

if __name__ == '__main__':
    run(main)
