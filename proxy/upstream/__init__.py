"""Upstream: how bytes are fetched from origins, and whether a signature is good.

Knows neither the store nor the clients.
"""
