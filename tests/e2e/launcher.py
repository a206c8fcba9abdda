"""Starts bridges cheaply: imports everything once, then forks a `wxbridge` for every request.

Run as `python launcher.py FD`, where FD is a Unix socket (SOCK_SEQPACKET). Each request is a JSON object with
three descriptors beside it, for the child's standard output, its standard error, and a pipe into which it writes its
exit code as one byte:

    {"arguments": ["run", "-c", "jobs.yaml"], "environment": {}, "directory": "/",
     "constants": {"wxbridge.delivery.outages:WORTH_TELLING": 0.5}}

`constants` are set in the child before it starts: seconds that are right for real life and too long for a test.
`module:Class.field` sets the default of a dataclass's field. The answer is the child's process id.

With `"clock": FILE` the child's wall clock is the real one plus as many seconds as the file holds (a float64, little
endian): whoever writes other eight bytes into it sets the clock of a running bridge.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import importlib
import json
import mmap
import os
import pkgutil
import signal
import socket
import struct
import sys
import time
import types
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_REQUEST = 65536


def import_everything() -> None:
    """What a bridge imports while it starts or works, so that its forks need not."""
    from wxbridge import cli
    from wxbridge.channels.wechat import compat

    compat.load(Path(os.environ.get("TMPDIR", "/tmp")) / "wxbridge-wechaty")
    for name in (
        "wxbridge.app",
        "wxbridge.channels.wechat.channel",
        "wxbridge.channels.wechat.connection",
        *(f"wxbridge.cli.{name}" for _, name, _ in pkgutil.iter_modules(cli.__path__)),
        "wxbridge.pictures.fetch",
        "wxbridge.core.imaging",
        "wxbridge.registry",
        "PIL.PngImagePlugin",
        "alembic.command",
    ):
        importlib.import_module(name)


def set_constant(path: str, value: Any) -> None:
    """Set `module:NAME`, or the default of the field in `module:Class.field`."""
    module_name, _, name = path.partition(":")
    module = importlib.import_module(module_name)
    if "." not in name:
        if not hasattr(module, name):
            raise AttributeError(f"there is no {path}")
        setattr(module, name, value)
        return
    class_name, _, field_name = name.partition(".")
    kind = getattr(module, class_name)
    names = [field.name for field in dataclasses.fields(kind)]
    defaults = list(kind.__init__.__defaults__)
    defaults[names.index(field_name) - (len(names) - len(defaults))] = value
    kind.__init__.__defaults__ = tuple(defaults)


def follow_clock(path: str) -> None:
    """Take the wall clock's offset from a file from now on, also where `time.time` is the default of a parameter.

    Not for `datetime.now`, which is C: it dates what is shown, and decides nothing in delivery.
    """
    with Path(path).open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 8)
    real = time.time

    def now() -> float:
        return real() + float(struct.unpack("<d", memory[:8])[0])

    time.time = now
    # The modules were imported before the fork, so the defaults of their classes are the real clock.
    for module in [module for name, module in sys.modules.items() if name.startswith("wxbridge")]:
        for kind in vars(module).values():
            function = vars(kind).get("__init__") if isinstance(kind, type) else None
            if isinstance(function, types.FunctionType):
                function.__defaults__ = tuple(now if each is real else each for each in function.__defaults__ or ())
                known = function.__kwdefaults__ or {}
                function.__kwdefaults__ = {key: now if each is real else each for key, each in known.items()}


def run_child(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Become a bridge; never returns."""
    from wxbridge.core.output import drain

    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.dup2(descriptors[0], 1)
        os.dup2(descriptors[1], 2)
        os.close(descriptors[0])
        os.close(descriptors[1])
        os.set_inheritable(descriptors[2], False)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["directory"])
        # Made anew: the parent's may have been files, which know where they are, and these are pipes.
        sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115 - as long as the process
        sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
        for path, value in request.get("constants", {}).items():
            set_constant(path, value)
        if request.get("clock"):
            follow_clock(request["clock"])
        sys.argv = ["wxbridge", *request["arguments"]]
        from wxbridge.cli import main

        main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        drain()
        os.write(descriptors[2], bytes([code]))
        os._exit(code)


def main() -> None:
    """Serve until the other end of the socket is closed."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is pytest's, which then closes the socket
    import_everything()
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, _REQUEST, 3)
        if not message:
            return
        pid = os.fork()
        if not pid:
            requests.close()
            run_child(json.loads(message), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(str(pid).encode())


if __name__ == "__main__":
    main()
