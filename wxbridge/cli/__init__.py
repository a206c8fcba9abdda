"""The command line. Every command is short: it reads the configuration, calls the parts, and prints."""


def main() -> None:
    """Run the command line.

    What it needs is imported here: the process that draws charts imports this package too, by Python's way of
    spawning, and has no use for it.
    """
    import gc

    # What is imported stays: looking through it for garbage every 700 objects is a tenth of a start.
    gc.set_threshold(20_000)
    from wxbridge.cli import commands

    commands.main()
