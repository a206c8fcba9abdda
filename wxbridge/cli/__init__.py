"""The command line. Every command is short: it reads the configuration, calls the parts, and prints."""

from wxbridge.cli.commands import main

__all__ = ["main"]
