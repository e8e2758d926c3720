"""The root of every error that the proxy raises on purpose.

Each concrete error lives beside the code that raises it and carries data, not
only text. HTTP statuses are chosen in `web/status.py`, exit codes in `cli/`;
nothing below knows either. Pure.
"""


class ProxyError(Exception):
    """Base of all errors whose cause is known and can be told to a person."""
