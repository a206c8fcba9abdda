"""How a command ends: what is said on standard error, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from wxbridge.cli.reader import phrase, tell
from wxbridge.core.errors import ConfigError, WxbridgeError

FAILED, WRONG_USAGE = 1, 2
INTERRUPTED = 130
"""The exit code of what Ctrl-C ended, as shells have it."""


def say(text: str) -> None:
    """A line for a person, on standard error, so that standard output stays for data."""
    print(tell(text), file=sys.stderr, flush=True)  # noqa: T201 - this is the command line


@contextmanager
def exit_codes() -> Iterator[None]:
    """Have errors within the block become a sentence and an exit code: 1 failed, 2 wrong configuration or usage."""
    try:
        yield
    except ConfigError as error:
        for problem in error.problems:
            print(f"{problem.file}:{problem.line}: {tell(problem.text)}", file=sys.stderr)  # noqa: T201
        sys.exit(WRONG_USAGE)
    except WxbridgeError as error:
        say(phrase("cli.prefix", what=tell(str(error))))
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone: nothing to say, nobody to say it to
        sys.exit(FAILED)
    except OSError as error:
        # No right, a read-only or full disk: where it was is all that helps.
        why = f"{error.filename or phrase('terminal.system')}: {tell(error.strerror or str(error))}"
        say(phrase("cli.prefix", what=why))
        sys.exit(FAILED)
