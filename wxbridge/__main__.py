"""`python -m wxbridge`."""

from wxbridge.cli import main

main()
