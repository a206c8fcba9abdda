"""A pretend iLink: Tencent's bot interface for personal WeChat, with the phones of the people who scan."""
