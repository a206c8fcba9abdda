# ruff: noqa: INP001 - a script, in no package
"""Docker's HEALTHCHECK: exit 0 while the bridge's process answers, 1 otherwise.

It asks /healthz and not `wxbridge status`: a bridge whose WeChat is offline is well, keeps taking alerts,
and must not be restarted for it. The port is that of $WXBRIDGE_LISTEN, as in the jobs.yaml that ships.
"""

import os
import sys
import urllib.request

port = os.environ.get("WXBRIDGE_LISTEN", "127.0.0.1:8080").rpartition(":")[2]
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # $http_proxy is for the world outside
try:
    with direct.open(f"http://127.0.0.1:{port}/healthz", timeout=4):
        pass
except OSError as error:
    sys.exit(f"no answer on port {port}: {error}")
