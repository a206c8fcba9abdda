"""`wxbridge sendmail`: what cron, smartd and mdadm call instead of `/usr/sbin/sendmail`."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wxbridge.alerts.sources.mail import parse
from wxbridge.cli import sendmail
from wxbridge.cli.sendmail import run_sendmail

MAIL = b"Subject: DegradedArray event on /dev/md0:nas\nTo: root\n\nA DegradedArray event had been detected.\n"


@dataclass
class Bridge:
    """What answers instead of a bridge: it keeps what it got, and answers as it is told."""

    url: str
    answers: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    mails: list[bytes] = field(default_factory=list)


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    monkeypatch.setattr(sendmail, "PAUSES_SECONDS", (0.0, 0.0))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.paths.append(self.path)
            found.tokens.append(self.headers.get("Authorization", ""))
            found.mails.append(self.rfile.read(int(self.headers["Content-Length"])))
            status = found.answers.pop(0) if found.answers else 202
            body = b'{"queued": 1, "duplicates": 0}' if status == 202 else b"says no"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Bridge(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WXBRIDGE_CONFIG", raising=False)


def run(bridge: Bridge, *words: str, mail: bytes = MAIL, **environment: str) -> int:
    given = {"WXBRIDGE_URL": bridge.url, "WXBRIDGE_TOKEN": "a-token"} | environment
    return run_sendmail(words, io.BytesIO(mail), given)


CALLERS = [
    pytest.param(["-t"], id="mdadm, logwatch"),
    pytest.param(["-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root"], id="cron of Debian"),
    pytest.param(["-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root"], id="cronie"),
    pytest.param(["-oi", "-t"], id="mail of smartd's script"),
    pytest.param(["-i", "--", "root", "admin@example.com"], id="s-nail"),
    pytest.param(["-bm", "-N", "failure,delay", "-R", "hdrs", "-f", "a@b.c", "root"], id="notifications"),
    pytest.param(["-froot@nas", "-om", "-X", "/tmp/log", "root"], id="with a log"),
    pytest.param(["-G", "-v", "-U", "-n", "root"], id="what changes nothing"),
]


@pytest.mark.parametrize("words", CALLERS)
def test_whoever_calls_sendmail_has_the_mail_handed_over(bridge: Bridge, words: list[str]) -> None:
    assert run(bridge, *words) == 0
    assert (bridge.paths, bridge.tokens) == (["/hooks/mail"], ["Bearer a-token"])
    assert bridge.mails[0].endswith(MAIL)
    (alert,) = parse(bridge.mails[0], {}).alerts
    assert (alert.labels["device"], alert.labels["severity"]) == ("/dev/md0", "critical")


def test_what_a_mail_lacks_is_added_and_what_it_has_stays(bridge: Bridge) -> None:
    text = b"Subject: x\n\nFrom: here on it is the text\n.\nnot read any more\n"
    run(bridge, "-F", "Cron Daemon", "-f", "cron@nas", "root", "admin", mail=text)
    made = message_from_bytes(bridge.mails[0])
    assert (made["From"], made["To"], made["Subject"]) == ("Cron Daemon <cron@nas>", "root, admin", "x")
    assert made["Message-ID"]
    assert made["Date"]
    assert made.get_payload() == "From: here on it is the text\n"
    run(bridge, "-i", "-t", mail=b"From: a@b\nMessage-Id: <1@a>\nSubject: y\n\none\n.\ntwo\n")
    made = message_from_bytes(bridge.mails[1])
    assert (made.get_all("From"), made.get_all("Message-ID")) == (["a@b"], ["<1@a>"])
    assert made.get_payload() == "one\n.\ntwo\n"
    run(bridge, "root", mail=b"only a text\n")
    made = message_from_bytes(bridge.mails[2])
    assert made.get_payload() == "only a text\n"
    assert parse(bridge.mails[2], {}).title == "only a text"


def test_a_bridge_that_is_away_for_a_moment_is_tried_again(bridge: Bridge) -> None:
    bridge.answers = [503, 503]
    assert run(bridge, "-t") == 0
    assert len(bridge.mails) == 3
    assert len({message_from_bytes(mail)["Message-ID"] for mail in bridge.mails}) == 1


@pytest.mark.parametrize(
    ("answer", "code", "tries"),
    [(503, 75, 3), (500, 75, 3), (429, 75, 3), (401, 77, 1), (403, 77, 1), (400, 65, 1), (413, 65, 1), (404, 78, 1)],
)
def test_the_exit_codes_are_sendmail_s(
    bridge: Bridge, capsys: pytest.CaptureFixture[str], answer: int, code: int, tries: int
) -> None:
    bridge.answers = [answer] * 3
    assert run(bridge, "-t") == code
    assert len(bridge.mails) == tries
    said = capsys.readouterr().err
    assert f"answered {answer}: says no" in said
    assert "a-token" not in said


def test_a_bridge_that_is_away_is_a_temporary_failure(bridge: Bridge, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(bridge, "-t", WXBRIDGE_URL="http://127.0.0.1:1") == 75
    assert "http://127.0.0.1:1/hooks/mail cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-bs"], 64, "no SMTP here"),
        (["-bd", "-q15m"], 64, "wxbridge run"),
        (["-bv", "root"], 64, "not verified"),
        (["--unknown"], 64, "there is no option --unknown"),
        (["-bp"], 0, "the queue is empty"),
        (["-bi"], 0, ""),
        (["-q"], 0, ""),
        (["--url", "bridge:8080"], 78, "write one like http://bridge:8080"),
        (["-c", "none.yaml"], 0, ""),
    ],
)
def test_what_there_is_not_is_refused_with_what_to_do(
    bridge: Bridge, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert run(bridge, *words) == code
    assert said in capsys.readouterr().err


def test_nothing_to_say_is_no_mail(bridge: Bridge) -> None:
    assert run(bridge, "-t", mail=b"\n") == 65
    assert bridge.mails == []


def test_where_the_bridge_is_stands_on_the_line_in_the_environment_in_a_file_or_in_jobs_yaml(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_sendmail(["-t"], io.BytesIO(MAIL), {}) == 78
    assert "set WXBRIDGE_URL and WXBRIDGE_TOKEN" in capsys.readouterr().err
    file = tmp_path / "sendmail.env"
    file.write_text(
        f"# of the bridge\nexport WXBRIDGE_URL='{bridge.url}/under/it?answer=200'\nWXBRIDGE_TOKEN=of-the-file\n"
    )
    monkeypatch.setattr(sendmail, "SETTINGS_FILE", file)
    assert run_sendmail(["-t", "--to", "ops,boss"], io.BytesIO(MAIL), {}) == 0
    assert (bridge.paths[-1], bridge.tokens[-1]) == (
        "/under/it/hooks/mail?answer=200&to=ops,boss",
        "Bearer of-the-file",
    )
    assert run_sendmail(["-t"], io.BytesIO(MAIL), {"WXBRIDGE_TOKEN": "of-here"}) == 0
    assert bridge.tokens[-1] == "Bearer of-here"
    assert run_sendmail(["-t", f"--url={bridge.url}/hooks/mail?to=dba", "--token", "t"], io.BytesIO(MAIL), {}) == 0
    assert (bridge.paths[-1], bridge.tokens[-1]) == ("/hooks/mail?to=dba", "Bearer t")
    file.unlink()
    listen = bridge.url.removeprefix("http://127.0.0.1")
    (tmp_path / "jobs.yaml").write_text(
        f'server: {{listen: "0.0.0.0{listen}", token: of-all}}\nhooks: {{mail: {{token: of-mails}}}}\n'
        "targets: {ops: {channel: console}}\nroutes: [{to: [ops]}]\n"
    )
    assert run_sendmail(["-t"], io.BytesIO(MAIL), {}) == 0
    assert bridge.tokens[-1] == "Bearer of-mails"


@pytest.mark.parametrize("options", [["-oi", "-t"], []])
@pytest.mark.parametrize("name", ["sendmail", "wxbridge"])
def test_the_program_is_sendmail_where_it_is_called_so(bridge: Bridge, name: str, options: list[str]) -> None:
    code = f"import sys; sys.argv[0] = '/usr/sbin/{name}'; from wxbridge.cli import main; main()"
    words = [sys.executable, "-c", code, *([] if name == "sendmail" else ["sendmail"]), *options]
    env = os.environ | {"WXBRIDGE_URL": bridge.url, "WXBRIDGE_TOKEN": "a-token"}
    done = subprocess.run(words, input=MAIL, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert bridge.mails[0].endswith(MAIL)


def test_bytes_that_are_no_utf_8_in_the_settings_file_cost_nothing_but_themselves(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sendmail.env"
    monkeypatch.setattr(sendmail, "SETTINGS_FILE", file)
    url = f"WXBRIDGE_URL={bridge.url}\n".encode()
    file.write_bytes(b"# f\xfcr die Br\xfccke\n" + url + b"WXBRIDGE_TOKEN=of-the-file\n")
    assert run_sendmail(["-t"], io.BytesIO(MAIL), {}) == 0
    assert bridge.tokens == ["Bearer of-the-file"]
    file.write_bytes(url + b"WXBRIDGE_TOKEN=t\xf6k\n")
    assert run_sendmail(["-t"], io.BytesIO(MAIL), {}) == 78
    assert "the token has signs in it that cannot be sent" in capsys.readouterr().err
    assert len(bridge.mails) == 1


@pytest.mark.parametrize("token", ["t\udcf6k", "a-secret\nX: y", "a-secret\x7f"], ids=ascii)
def test_a_token_that_cannot_be_sent_is_what_is_wrong(
    bridge: Bridge, capsys: pytest.CaptureFixture[str], token: str
) -> None:
    assert run(bridge, "-t", "--token", token) == 78
    said = capsys.readouterr().err
    assert "the token has signs in it that cannot be sent" in said
    assert "secret" not in said
    assert bridge.mails == []


def test_a_token_of_other_letters_goes_as_utf_8(bridge: Bridge) -> None:
    assert run(bridge, "-t", "--token", "tök-令牌") == 0
    assert bridge.tokens[0].encode("latin-1").decode() == "Bearer tök-令牌"


@pytest.mark.parametrize("path", ["/with a blank", "/brücke", ":port/"])
def test_an_address_that_cannot_be_asked_is_no_reason_to_try_again(
    bridge: Bridge, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    assert run(bridge, "-t", "--url", f"{bridge.url}{path}") == 78
    assert "cannot be asked" in capsys.readouterr().err


def test_a_target_that_is_no_utf_8_is_for_the_bridge_to_refuse(bridge: Bridge) -> None:
    assert run(bridge, "-t", "--to", "t\udcf6k") == 0
    assert bridge.paths == ["/hooks/mail?to=t%3Fk"]


def test_what_answers_and_is_no_bridge_is_a_temporary_failure(
    bridge: Bridge, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(3):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        threading.Thread(target=answer, daemon=True).start()
        assert run(bridge, "-t", "--url", f"http://127.0.0.1:{server.getsockname()[1]}") == 75
    assert "cannot be reached" in capsys.readouterr().err
