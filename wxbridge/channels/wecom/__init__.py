"""WeCom (企业微信) over HTTP: group robots (`robot`) and applications (`app`), and what both share."""
