"""The channel `http`: any service that takes requests, as jobs.yaml describes it.

Phone calls, SMS gateways, Kafka's REST proxy and the like, without a vendor's code in the house.
"""
