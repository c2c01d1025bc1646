"""`facesymbols audit` as a script."""

from recognition.cli import run
from recognition.commands.audit import main

if __name__ == '__main__':
    run(main)
