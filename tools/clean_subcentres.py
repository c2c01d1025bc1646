"""`facesymbols clean` as a script."""

from recognition.cli import run
from recognition.commands.clean import main

if __name__ == '__main__':
    run(main)
