"""What follows when a connection to the gateway has ended: which state is told, when to connect again, and how.

The states of a connection, and what leads from one to the next:

    STARTING ─▶ CONNECTING ─▶ WAITING_FOR_SCAN ─▶ SCANNED ─▶ ONLINE       a login by QR code
                CONNECTING ─▶ ONLINE                                      the gateway is logged in already
    ONLINE ─▶ LOGGED_OUT ─▶ WAITING_FOR_SCAN                              on the phone, or in the console
    any ─▶ UNREACHABLE     the gateway does not answer: again with growing pauses, by Start alone
    any ─▶ UNAUTHORISED    it refuses the token: again once a minute
    any ─▶ CONNECTING      it ended the stream in good order, so another client may have taken over
    CONNECTING ─▶ TAKEN_OVER   it did: left alone for `takeover` seconds, then sent away by Stop and Start
    LOGGED_OUT ─▶ LOGGED_OUT   no QR code comes: asked for by Start, and from the second time on by Stop and Start

Stop ends another client's connection, and with most puppets the login; so it is only called where nothing is lost by
it, or where the gateway is held by somebody who was there before us.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog

from wxbridge.channels.connected import Backoff
from wxbridge.channels.wechat.gateway_errors import EventStreamEnded, GatewayError, GatewayRefusal, NoLoginCode
from wxbridge.channels.wechat.timing import WechatTiming
from wxbridge.core.model import ChannelState

log = structlog.get_logger()


@dataclass(frozen=True)
class NextAttempt:
    """When to connect again, and what to tell meanwhile; `state` is None where the present one goes on."""

    pause: float
    """Seconds."""
    state: ChannelState | None = None
    detail: str = ""


class ReconnectPolicy:
    """Decides what follows when a connection has ended, and remembers who holds the gateway."""

    def __init__(self, endpoint: str, timing: WechatTiming) -> None:
        self.backoff = Backoff(timing.backoff, timing.backoff_most)
        self.codeless = 0
        """How many times in a row no QR code came."""
        self._endpoint = endpoint
        self._timing = timing
        self._stops_first = False
        self._held_since: float | None = None
        """Since when another client has been found to hold the gateway."""
        self._was_displaced = False
        """Whether another client has taken the gateway from us: whoever did is left alone for long."""
        self._displaced_since: float | None = None

    def take_stop(self) -> bool:
        """Tell whether the next connection begins with Stop; asked once for each."""
        stops_first, self._stops_first = self._stops_first, False
        return stops_first

    def note_connected(self) -> None:
        """Note that the gateway is ours."""
        self.backoff.reset()
        self._held_since = self._displaced_since = None
        self._was_displaced = False

    def note_login(self) -> None:
        """Note that a QR code or a login came."""
        self.codeless = 0

    def decide(self, error: GatewayError) -> NextAttempt:
        """Decide by what ended the connection."""
        match error:
            case GatewayRefusal():
                return self._after_refusal(error)
            case EventStreamEnded():
                return self._after_stream_end()
            case NoLoginCode():
                return self._after_missing_code(str(error))
            case _:
                return self.decide_unreachable(str(error))

    def decide_unreachable(self, words: str) -> NextAttempt:
        """Decide for a gateway that does not answer as one; `words` say what it does."""
        detail = f"the gateway at {self._endpoint} is not reached: {words}"
        return NextAttempt(self.backoff.next_pause(), ChannelState.UNREACHABLE, detail)

    def _after_missing_code(self, words: str) -> NextAttempt:
        """Ask for a login by Start alone first; then by Stop and Start, as there is no login to be lost."""
        self.codeless += 1
        self._stops_first = self.codeless > 1
        how = "starts its login anew (Stop and Start)" if self._stops_first else "connects again (Start)"
        detail = f"{words}; wxbridge {how} to get one. If none comes, restart the gateway"
        log.warning("wechat login asked for again", detail=detail, times=self.codeless)
        return NextAttempt(0.0, ChannelState.LOGGED_OUT, detail)

    def _after_stream_end(self) -> NextAttempt:
        self._was_displaced = True
        detail = "the gateway ended the connection in good order; another client may have taken it over"
        return NextAttempt(self._timing.ended, ChannelState.CONNECTING, detail)

    def _after_refusal(self, error: GatewayRefusal) -> NextAttempt:
        if error.code == "ALREADY_EXISTS":
            return self._wait_for_displacer() if self._was_displaced else self._wait_for_holder()
        if error.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            detail = f"the gateway refuses the token ({error}); check `wechat.token`"
            return NextAttempt(self._timing.unauthorised, ChannelState.UNAUTHORISED, detail)
        return self.decide_unreachable(f"it answers {error}")

    def _wait_for_holder(self) -> NextAttempt:
        """Wait a little for another client, which may be our own last connection; then send it away."""
        now = time.monotonic()
        self._held_since = now if self._held_since is None else self._held_since
        if now - self._held_since < self._timing.patience:
            detail = "the gateway serves another client, or has not noticed yet that our last connection is gone"
            pause = min(self.backoff.next_pause(), self._timing.held_probe)
            return NextAttempt(pause, ChannelState.CONNECTING, detail)
        detail = "another client was connected and is sent away; a scan may be needed"
        log.warning("wechat gateway taken", detail=detail)
        self._stops_first, self._held_since = True, None
        return NextAttempt(0.0)

    def _wait_for_displacer(self) -> NextAttempt:
        """Leave whoever displaced us alone for long, then take the gateway back."""
        now = time.monotonic()
        self._displaced_since = now if self._displaced_since is None else self._displaced_since
        left = self._displaced_since + self._timing.takeover - now
        if left <= 0:
            log.warning("wechat gateway taken back", detail="the other client is sent away; a scan may be needed")
            self._stops_first, self._displaced_since = True, None
            return NextAttempt(0.0)
        minutes = self._timing.takeover / 60
        detail = (
            f"another client has taken over the gateway; wxbridge takes it back {minutes:g} min after that, "
            "or as soon as the other is gone. Two bots cannot share one gateway: stop one of them"
        )
        return NextAttempt(min(self._timing.takeover_probe, left), ChannelState.TAKEN_OVER, detail)
