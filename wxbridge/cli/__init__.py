"""The command line. Every command is short: it reads the configuration, calls the parts, and prints."""


def main() -> None:
    """Run the command line.

    What it needs is imported here: the process that draws charts imports this package too, by Python's way of
    spawning, and has no use for it.
    """
    import gc
    import io
    import os
    import sys

    # What is imported stays: looking through it for garbage every 700 objects is a tenth of a start.
    gc.set_threshold(20_000)
    # No plug-in of pydantic's is ours: looking for one reads the metadata of every package there is.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Whoever starts us may have closed them: there is nothing to read, and nobody reads.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        # A terminal of GBK, or of no encoding that there is, has not every sign.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    from wxbridge.cli.exits import exit_codes
    from wxbridge.cli.reader import choose_language_of
    from wxbridge.cli.settings import config_path, find_named_config

    choose_language_of(config_path(find_named_config(sys.argv[1:])))
    with exit_codes():
        if sys.argv[1:2] == ["run"]:
            from wxbridge.cli.serving import read_run_options, run_bridge

            if given := read_run_options(sys.argv[1:]):
                run_bridge(*given)
                return
        from wxbridge.cli import commands

        commands.main()
