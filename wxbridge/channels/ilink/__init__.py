"""iLink: Tencent's own bot interface for personal WeChat (微信 ClawBot): a private chat with whoever scans a code.

It has no rooms, and a send window: 24 hours after the person's last message, ten messages each time.
"""
