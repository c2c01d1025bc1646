"""`facesymbols demo` as a script."""

from recognition.cli import run
from recognition.commands.demo import main

if __name__ == '__main__':
    run(main)
