"""What a running bridge has imported: what its configuration does not need costs neither time nor memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support import free_port

PROBE = """
import json, os, signal, sys, threading, time, urllib.request

port, config, awaited, looked_at = sys.argv[1:]

def tell() -> None:
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").read()
            break
        except OSError:
            time.sleep(0.05)
    while awaited and awaited not in sys.modules:
        time.sleep(0.05)
    if looked_at:
        urllib.request.urlopen(f"http://127.0.0.1:{port}{looked_at}").read()
    # A stand-in has no specification.
    real = [name for name, module in list(sys.modules.items()) if getattr(module, "__spec__", None)]
    print(json.dumps(real), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=tell, daemon=True).start()
sys.argv[:] = ["wxbridge", "run", "-c", config]
from wxbridge.cli import main
main()
"""
"""A bridge that prints what it has imported once it is ready, and ends."""

ROBOTS = """\
state_dir: state
server: {{listen: "127.0.0.1:{port}"}}
operators: [ops]
targets:
  ops: {{channel: wecom_robot, key: "0f1e2d3c-0000-4000-8000-000000000000"}}
routes:
  - {{match: {{severity: critical}}, to: [ops]}}
  - {{to: [ops]}}
"""
FOR_SOMETHING_ELSE = {
    "alembic": "a schema to migrate",
    "apprise": "its channel",
    "apscheduler": "jobs at times of day",
    "argparse": "nothing: aiohttp imports it",
    "difflib": "slips in jobs.yaml and in commands",
    "greenlet": "the browser's driver",
    "idna": "names of hosts beyond ASCII",
    "jinja2": "templates, and pages of the console",
    "jmespath": "bodies of other senders",
    "lxml": "pages of wechaty",
    "PIL": "pictures; charts are drawn in a process of their own",
    "playwright": "screenshots",
    "promql_parser": "Prometheus",
    "psutil": "machines that are watched",
    "qrcode": "logins",
    "re2": "regular expressions in routes",
    "requests": "nothing: wechaty imports it",
    "rich": "tables of the command line",
    "socketserver": "nothing: prometheus_client imports it",
    "sqlalchemy.dialects.sqlite.aiosqlite": "nothing: its package imports it",
    "typer": "all other commands",
    "wechaty": "its channel",
}


def imported_by(jobs: str, directory: Path, until: str = "", look_at: str = "") -> set[str]:
    """Run a bridge until it is ready and a module is there, look at a page, and tell what it has imported."""
    port = free_port()
    file = directory / "jobs.yaml"
    file.write_text(jobs.format(port=port), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(port), str(file), until, look_at],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


WECHAT = """\
state_dir: state
server: {{listen: "127.0.0.1:{port}"}}
wechat: {{endpoint: "127.0.0.1:9", token: a-token, master: boss}}
targets:
  ops: {{channel: wechat, room: Ops}}
routes:
  - {{to: [ops]}}
"""


def test_a_bridge_of_wechat_imports_none_of_what_wechaty_never_does_here(tmp_path: Path) -> None:
    loaded = imported_by(WECHAT, tmp_path, until="wechaty_puppet_service.puppet")
    unused = {"flask", "github", "hypercorn", "lxml", "opengraph_py3", "PIL", "qrcode", "quart", "requests", "urllib3"}
    assert "wechaty" in loaded
    assert sorted(loaded & unused) == []


def test_a_bridge_of_robots_alone_imports_nothing_of_what_it_does_not_use(tmp_path: Path) -> None:
    loaded = imported_by(ROBOTS, tmp_path)
    found = {name for name in FOR_SOMETHING_ELSE if name in loaded}
    assert not found
    assert not {name for name in loaded if name.startswith("sqlalchemy.dialects.postgresql")}
    channels = {name.removeprefix("wxbridge.channels.") for name in loaded if name.startswith("wxbridge.channels.")}
    assert not loaded & {
        "wxbridge.bot.dispatcher",
        "wxbridge.pictures.pages.browser",
        "wxbridge.web.console.pages.alerts",
    }
    assert not channels & {"apprise", "console", "dingtalk", "wechat.channel", "wecom.app", "wecom_bot.channel"}


def test_a_look_at_the_first_page_imports_no_other_page_and_no_command(tmp_path: Path) -> None:
    loaded = imported_by(ROBOTS, tmp_path, look_at="/")
    pages = {name.rpartition(".")[2] for name in loaded if name.startswith("wxbridge.web.console.pages.")}
    assert pages == {"timeline"}
    assert not {name for name in loaded if name.startswith("wxbridge.bot.commands")}
