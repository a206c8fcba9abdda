"""The loops that empty the outbox. A channel's error says whether a retry can help; here it is performed."""

from wxbridge.delivery.common import Clock, Lane, Shared
from wxbridge.delivery.service import Delivery

__all__ = ["Clock", "Delivery", "Lane", "Shared"]
