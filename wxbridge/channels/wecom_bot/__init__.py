"""WeCom's AI bot over the official long connection.

The bot connects out to WeCom: no gateway, no public address. Groups and direct chats, both ways
(developer.work.weixin.qq.com/document/path/101463).
"""
