"""The pages of the console, in the order of the navigation. What a page is: `page.ConsolePage`."""

from __future__ import annotations

from wxbridge.web.console.page import ConsolePage
from wxbridge.web.console.pages import (
    alert,
    alerts,
    audit,
    configuration,
    doctor,
    host,
    jobs,
    login,
    message,
    rooms,
    routes,
    senders,
    targets,
    templates,
    timeline,
)

PAGES: tuple[ConsolePage, ...] = (
    timeline.PAGE,
    login.PAGE,
    alerts.PAGE,
    targets.PAGE,
    jobs.PAGE,
    host.PAGE,
    routes.PAGE,
    senders.PAGE,
    templates.PAGE,
    rooms.PAGE,
    audit.PAGE,
    configuration.PAGE,
    doctor.PAGE,
    message.PAGE,
    alert.PAGE,
)
