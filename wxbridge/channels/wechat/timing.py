"""The times of the channel `wechat`; the defaults are for real life, tests bring their own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WechatTiming:
    """How long the channel waits for what, in seconds."""

    deadline: float = 15.0
    """For every call; a picture gets a second more per megabyte."""
    ding_interval: float = 20.0
    """Between two proofs that the connection is alive."""
    ding_answer: float = 5.0
    """For each of them to be answered."""
    backoff: float = 1.0
    """The first pause after a failure; it doubles, is jittered, and ends at `backoff_most`."""
    backoff_most: float = 30.0
    patience: float = 15.0
    """How long a held gateway is tried without Stop: our own dead connection may just not be noticed yet."""
    patience_shared: float = 8.0
    """The same where several bridges share a database: from the last sign of life to here it takes long enough."""
    held_probe: float = 2.0
    """Between two looks whether a held gateway is free by now, at most."""
    unauthorised: float = 60.0
    """Between two tries with a token that was refused."""
    ended: float = 3.0
    """After the gateway ended the stream: whoever took over gets to connect."""
    takeover: float = 300.0
    """How long another client is left alone before the gateway is taken back."""
    takeover_probe: float = 30.0
    """How often it is looked whether the other client is gone by itself."""
    resync: float = 600.0
    """Between two readings of all rooms and contacts."""
    settle: float = 30.0
    """After a login, until missing names are complained about where the gateway never says ready."""
    code: float = 60.0
    """After a logout or an expired QR code, until a new one is asked for by connecting again."""
