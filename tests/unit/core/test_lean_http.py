"""The certificate authorities of the system are read for the first connection, and no connection is less checked."""

from __future__ import annotations

import json
import subprocess
import sys

PROBE = """
import json, ssl
from wxbridge.core import lean_http
import aiohttp.connector

context = aiohttp.connector._SSL_CONTEXT_VERIFIED
usual = ssl.create_default_context()
before = len(context.get_ca_certs())
context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="example.com")
print(json.dumps({
    "before": before,
    "reads the same": context.get_ca_certs() == usual.get_ca_certs(),
    "is as strict": (context.verify_mode, context.check_hostname, context.verify_flags, context.options)
        == (usual.verify_mode, usual.check_hostname, usual.verify_flags, usual.options),
    "is a plain context": type(context) is ssl.SSLContext,
    "others read at once": type(usual) is ssl.SSLContext,
}))
"""


def test_the_authorities_are_read_for_the_first_connection_and_it_is_checked_as_ever() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found.pop("before") == 0
    assert all(found.values()), found


LATE_PROBE = """
import json, os, sys
from wxbridge.core import lean_http
import aiohttp.helpers, yarl
late = ("argparse", "idna", "urllib.request")
before = [name for name in late if name in sys.modules]
os.environ["HTTPS_PROXY"] = "http://proxy.example:3128"
print(json.dumps({
    "before": before,
    "host": yarl.URL("http://\\u4f8b\\u5b50.example/").raw_host,
    "proxies": aiohttp.helpers.getproxies()["https"],
    "type": aiohttp.web_fileresponse.CONTENT_TYPES.guess_type("picture.png")[0],
}))
"""


def test_what_is_imported_late_does_what_it_always_did() -> None:
    done = subprocess.run([sys.executable, "-c", LATE_PROBE], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "before": [],
        "host": "xn--fsqu00a.example",
        "proxies": "http://proxy.example:3128",
        "type": "image/png",
    }
