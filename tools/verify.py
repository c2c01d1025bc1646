"""`facesymbols verify` as a script."""

from recognition.cli import run
from recognition.commands.verify import main

if __name__ == '__main__':
    run(main)
