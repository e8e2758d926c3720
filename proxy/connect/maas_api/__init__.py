"""A MAAS as it is asked and changed: one protocol, and the versions of its API that speak it."""
