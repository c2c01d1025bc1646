"""`facesymbols export` as a script."""

from recognition.cli import run
from recognition.commands.export import main

if __name__ == '__main__':
    run(main)
