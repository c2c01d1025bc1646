"""`facesymbols compare` as a script."""

from recognition.cli import run
from recognition.commands.compare import main

if __name__ == '__main__':
    run(main)
