"""How a request can end."""

OUTCOMES = ("hit", "stale", "miss", "join", "bypass", "absent", "offline", "denied", "refused", "error")
"""The same words as in logs and in Cache-Status."""
