"""The loops that empty the outbox. A channel's error says whether a retry can help; here it is performed."""
