"""`facesymbols check-data` as a script."""

from recognition.cli import run
from recognition.commands.check_data import main

if __name__ == '__main__':
    run(main)
