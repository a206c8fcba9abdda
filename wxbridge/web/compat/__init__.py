"""`/compat/…`: addresses that speak the languages of robots and push services: a tool is pointed here by its URL.

A service is one module: what its requests say, and its own words for yes and no. Yes is said after the commit.
"""

from __future__ import annotations

from aiohttp import web

from wxbridge.web.compat.bark import Bark
from wxbridge.web.compat.dingtalk import Dingtalk
from wxbridge.web.compat.feishu import Feishu
from wxbridge.web.compat.gotify import Gotify
from wxbridge.web.compat.ntfy import Ntfy
from wxbridge.web.compat.pushdeer import Pushdeer
from wxbridge.web.compat.serverchan import Serverchan
from wxbridge.web.compat.wecom import CompatWecomApplication, CompatWecomRobot

SERVICES = (CompatWecomApplication, CompatWecomRobot, Dingtalk, Feishu, Bark, Pushdeer, Gotify, Ntfy, Serverchan)
"""A new service is its module and its name here."""


def make_routes() -> list[web.RouteDef]:
    """Give the paths of all services."""
    return [route for service in SERVICES for route in service().routes()]
