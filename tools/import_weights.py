"""`facesymbols import-weights` as a script."""

from recognition.cli import run
from recognition.commands.import_weights import main

if __name__ == '__main__':
    run(main)
