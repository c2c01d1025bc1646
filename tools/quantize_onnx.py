"""`facesymbols quantize` as a script."""

from recognition.cli import run
from recognition.commands.quantize import main

if __name__ == '__main__':
    run(main)
