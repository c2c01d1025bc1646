"""`facesymbols verify-templates` as a script."""

from recognition.cli import run
from recognition.commands.verify_templates import main

if __name__ == '__main__':
    run(main)
