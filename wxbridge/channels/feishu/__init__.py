"""Feishu (飞书, Lark): group robots by webhook; their pictures are uploaded by an application of the company.

open.feishu.cn/document/client-docs/bot-v3/add-custom-bot, images: …/reference/im-v1/image/create,
tokens: …/auth-v3/auth/tenant_access_token_internal
"""
