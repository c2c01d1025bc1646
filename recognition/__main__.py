"""`python -m recognition` is the command `facesymbols`."""

from recognition.commands.main import main

main()
