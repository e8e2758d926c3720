"""The store: bytes under their digest, and the ledger of what is known of them.

Knows digests, never mirrors or networks.
"""
