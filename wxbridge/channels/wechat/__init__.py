"""Personal WeChat through a Wechaty puppet-service gateway.

Cheap to import: `wechaty` itself (0.5 s, 70 MB) is loaded when the first connection is made.
"""
