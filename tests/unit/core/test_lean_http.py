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
