"""`facesymbols pack` as a script."""

from recognition.cli import run
from recognition.commands.pack import main

if __name__ == '__main__':
    run(main)
