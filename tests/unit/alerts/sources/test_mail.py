"""`/hooks/mail`: what smartd, mdadm, cron, logwatch and mail programs hand over."""

from __future__ import annotations

import base64
import quopri
import time
from email.message import EmailMessage
from email.mime.text import MIMEText

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.alerts.sources.source_checks import check_told_or_refused, check_usable
from wxbridge.alerts.sources.mail import parse
from wxbridge.core.errors import BadBody
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.core.text.html_text import html_to_text


def told(mail: bytes | str, content_type: str = "message/rfc822") -> AlertGroup:
    group = parse(mail.encode() if isinstance(mail, str) else mail, {"Content-Type": content_type})
    check_usable(group)
    return group


def alert_of(mail: str) -> Alert:
    (alert,) = told(mail).alerts
    return alert


CRON = """\
From: root@db-1 (Cron Daemon)
To: root@db-1
Subject: Cron <root@db-1> test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit
X-Cron-Env: <SHELL=/bin/sh>
Date: Mon, 30 Nov 2026 06:25:01 +0800

/etc/cron.daily/logrotate:
错误: 磁盘已满
"""


def test_the_output_of_a_cron_job_is_a_message_with_its_subject_as_title() -> None:
    group = told(CRON)
    assert group.title == "Cron <root@db-1> test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily"
    assert (group.alerts, group.text) == ((), "/etc/cron.daily/logrotate:\n错误: 磁盘已满")
    assert group.recipients == ("root",)


def test_smartd_and_mdadm_warn_and_their_tests_are_tests() -> None:
    alert = alert_of(
        "To: root\nSubject: SMART error (CurrentPendingSector) detected on host: nas\n\n"
        "The following warning/error was logged by the smartd daemon:\n\n"
        "Device: /dev/sda [SAT], 8 Currently unreadable (pending) sectors\n"
    )
    assert (alert.status, alert.labels["severity"], alert.labels["device"], alert.labels["host"]) == (
        AlertStatus.FIRING, "critical", "/dev/sda", "nas",
    )  # fmt: skip
    again = alert_of("Subject: SMART error (CurrentPendingSector) detected on host: nas\n\nDevice: /dev/sdb [SAT], 8")
    assert again.fingerprint != alert.fingerprint
    alert = alert_of("To: root\nSubject: DegradedArray event on /dev/md0:nas\n\nA DegradedArray event")
    assert (alert.status, alert.labels["severity"], alert.labels["device"]) == (
        AlertStatus.FIRING,
        "critical",
        "/dev/md0",
    )
    for subject in ("SMART error (EmailTest) detected on host: nas", "TestMessage event on /dev/md0:nas"):
        assert alert_of(f"Subject: {subject}\n\nThis is a test").is_test


def test_a_problem_and_its_recovery_are_one_alert() -> None:
    down = alert_of("Subject: [PROBLEM] disk full\n\nhost: db-1\n")
    up = alert_of("Subject: [RESOLVED] disk full\n\nhost: db-1\n")
    assert (down.status, up.status) == (AlertStatus.FIRING, AlertStatus.RESOLVED)
    assert down.fingerprint == up.fingerprint
    assert down.labels["host"] == "db-1"


SUBJECT = "备份失败：磁盘已满"
TEXT = "第一行：没有空间\n第二行：请处理"


@pytest.mark.parametrize("charset", ["gbk", "gb2312", "gb18030", "utf-8", "big5hkscs", "utf-16"])
@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
def test_texts_and_encoded_words_are_decoded_whatever_they_are_written_in(charset: str, encoding: str) -> None:
    subject, text = ("備份失敗", "第一行") if charset == "big5hkscs" else (SUBJECT, TEXT)
    raw = text.encode(charset)
    if encoding == "8bit" and charset == "utf-16":
        pytest.skip("no such mail")
    body = {"base64": base64.encodebytes(raw), "quoted-printable": quopri.encodestring(raw), "8bit": raw}[encoding]
    word = base64.b64encode(subject.encode(charset)).decode()
    head = (
        f"Subject: =?{charset}?B?{word}?=\nMIME-Version: 1.0\n"
        f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n"
    )
    group = told(head.encode() + body)
    assert (group.title, group.text) == (subject, text)


def test_a_long_subject_in_several_words_is_one() -> None:
    words = [base64.b64encode(part).decode() for part in (SUBJECT.encode()[:8], SUBJECT.encode()[8:])]
    group = told(f"Subject: =?UTF-8?B?{words[0]}?=\r\n =?UTF-8?B?{words[1]}?=\r\n\r\nx\r\n")
    assert group.title == SUBJECT
    assert told("Subject: a long subject\n\tthat goes on\n\nx").title == "a long subject that goes on"
    assert told("Subject: =?UTF-8?Q?=E5=A4=87=E4=BB=BD?= of db-1\n\nx").title == "备份 of db-1"


def test_what_says_nothing_of_its_charset_is_read_as_it_looks() -> None:
    assert told(f"Subject: {SUBJECT}\n\n{TEXT}".encode("gbk")).title == SUBJECT
    assert told(f"Subject: {SUBJECT}\n\n{TEXT}".encode("gbk")).text == TEXT
    wrong = f"Subject: x\nContent-Type: text/plain; charset=us-ascii\n\n{TEXT}".encode()
    assert told(wrong).text == TEXT
    assert told(wrong.replace(b"us-ascii", b"x-nothing")).text == TEXT


HTML = (
    "<html><head><style>p {color: red}</style><title>Report</title></head><body><h1>Logwatch</h1>"
    "<p>Disk&nbsp;&amp; memory</p><table><tr><td>/dev/sda1</td><td>93%</td></tr><tr><td>/dev/sdb1</td><td>12%</td></tr>"
    "</table><pre>a\n  b</pre><ul><li>one</li><li>two</li></ul><script>alert(1)</script>end<br>of it</body></html>"
)
READ = "Logwatch\nDisk & memory\n/dev/sda1 93%\n/dev/sdb1 12%\na\nb\n- one\n- two\nend\nof it"


def test_a_mail_of_html_alone_is_told_as_its_reader_sees_it() -> None:
    assert html_to_text(HTML) == READ
    mail = MIMEText(HTML, "html", "utf-8")
    mail["Subject"] = "Logwatch for nas"
    assert told(mail.as_bytes()).text == READ


def test_the_plain_text_is_taken_before_html_and_attachments_are_named_or_shown() -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = (
        "Weekly report",
        "ops <ops@example.com>",
        "Zhang San <zhangsan@x.cn>, lisi",
    )
    mail.set_content("in plain words\n")
    mail.add_alternative(HTML, subtype="html")
    mail.add_attachment(b"\x89PNG\r\n\x1a\n" + b"0" * 64, maintype="image", subtype="png", filename="图.png")
    mail.add_attachment(b"a,b", maintype="text", subtype="csv", filename="数据.csv")
    group = told(mail.as_bytes())
    assert (group.title, group.text) == ("Weekly report", "in plain words\n📎 数据.csv")
    assert group.recipients == ("zhangsan", "lisi")
    assert [str(spec.params)[:60].count("data:image/png") for spec in group.pictures] == [1]


def test_a_mail_that_is_handed_over_again_is_a_repeat_and_another_is_not() -> None:
    first, again, other = (told(f"Message-ID: <{name}@nas>\nSubject: x\n\ny") for name in ("1", "1", "2"))
    assert first.dedupe == again.dedupe != other.dedupe
    assert told("Subject: x\n\ny").dedupe is None


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"subject": "Backup", "text": "done"}', "application/json"),
        ("subject=Backup&body-plain=done", "application/x-www-form-urlencoded"),
        ("Backup\n\ndone", "text/plain"),
        ('{"subject": "Backup", "html": "<p>done</p>"}', "application/json"),
        ("From root@nas Mon Nov 30 06:25:01 2026\nSubject: Backup\n\ndone", "text/plain"),
        ("Subject: Backup\r\n\r\ndone\r\n", "application/x-www-form-urlencoded"),
    ],
)
def test_what_scripts_post_instead_of_a_mail_is_read_too(body: str, content_type: str) -> None:
    group = told(body, content_type)
    assert (group.title, group.text) == ("Backup", "done")


@pytest.mark.parametrize("body", [b"", b" \n", b"From: a@b\n\n", b"null"])
def test_a_mail_that_says_nothing_is_refused(body: bytes) -> None:
    with pytest.raises(BadBody):
        parse(body, {})


PARTS = st.sampled_from(
    [
        b"Subject: ", b"=?gb2312?B?", b"?=", b"\n", b"\r\n", b"\n\n", b"Content-Type: multipart/mixed; boundary=x\n",
        b"--x", b"Content-Type: text/html; charset=", b"Content-Transfer-Encoding: base64\n", b"\xd6\xd0", b"<p>",
        b"To: a@b,<c@", b"Content-Type: message/rfc822\n", b"--x--",
        b"Content-Disposition: attachment; filename*=utf-8''%E5%9B\n",
    ]
)  # fmt: skip


@given(st.lists(PARTS | st.binary(max_size=8), max_size=25).map(b"".join))
def test_any_mail_is_told_or_refused(mail: bytes) -> None:
    check_told_or_refused(parse, mail, {})
    check_told_or_refused(parse, b"Subject: x\n" + mail, {})


def _repeat(piece: str, size: int = 300_000) -> str:
    return piece * (size // len(piece))


NESTED = "".join(f"Content-Type: multipart/mixed; boundary=b{at}\n\n--b{at}\n" for at in range(200))


@pytest.mark.parametrize(
    "mail",
    [
        f"Subject: backup {_repeat('=?utf-8?q?a?= ')}\n\ntext",
        f"Subject: backup\nX-Other: {_repeat('=?utf-8?q?a?= ')}\n\ntext",
        f"Subject: backup\nFrom: {_repeat('(')}\nTo: {_repeat('<')}\nCc: {_repeat('(')}\n\ntext",
        f"Subject: backup\nContent-Type: text/plain{_repeat('; a=b')}\n\ntext",
        f'Subject: backup\nContent-Type: text/plain; a="{_repeat(";")}\n\ntext',
        f'Subject: backup\nContent-Disposition: attachment; filename="{_repeat("=?utf-8?q?a?= ")}"\n\ntext',
        f"Subject: backup\n{NESTED}\n{_repeat('text', 8)}{_repeat(chr(10) + '-')}",
        f"Subject: backup\n{_repeat('Content-Type: message/rfc822' + chr(10) * 2)}\ntext",
        f"Subject: backup\nContent-Type: multipart/mixed; boundary=a\n\ntext\n{_repeat('--a' + chr(10) * 2)}",
        f"Subject: backup\nContent-Type: message/delivery-status\n\n{_repeat('text: b' + chr(10) * 2)}",
        f"Subject: backup\nContent-Type: text/html\n\ntext {_repeat('<a ')}",
        f"Subject: backup\nContent-Type: text/html\n\ntext {_repeat('<!--')}",
    ],
)
def test_no_mail_takes_long_to_read_whatever_is_long_or_nested_in_it(mail: str) -> None:
    before = time.process_time()
    group = parse(mail.encode(), {})
    assert time.process_time() - before < 2
    assert group.title.startswith("backup")
    assert "text" in (group.text or "") or "attachment" in mail


def test_a_mail_of_many_parts_is_told_as_its_text_stands() -> None:
    parts = "".join(f"--a\nContent-Type: multipart/mixed; boundary=b{at}\n\nwords {at}\n" for at in range(20))
    group = told(f"Subject: backup\nContent-Type: multipart/mixed; boundary=a\n\n{parts}--a--\n")
    assert "words 0\n" in (group.text or "")
    assert "words 19\n" in (group.text or "")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("1 < 2 and <b>bold</b>", "1 < 2 and bold"),
        ("a <!-- b > c -->d<!--e", "a d<!--e"),
        ("<!--[if !mso]><!--><p>seen</p><!--<![endif]-->", "seen"),
        ('<a title="a > b" href=x>link</a', "link</a"),
        ("<p title=don't>words</p>", "words"),
        ("<script>if (a<b) '<title>'</script>words<SCRIPT>", "words"),
        ("<!DOCTYPE html><?xml version='1.0'?></ p>&lt;b&gt; &copy;", "<b> ©"),
    ],
)
def test_html_is_read_as_browsers_do_where_tags_are_odd(html: str, text: str) -> None:
    assert html_to_text(html) == text
