"""`facesymbols launch` as a script."""

from recognition.cli import run
from recognition.commands.launch import main

if __name__ == '__main__':
    run(main)
