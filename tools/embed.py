"""`facesymbols embed` as a script."""

from recognition.cli import run
from recognition.commands.embed import main

if __name__ == '__main__':
    run(main)
