"""Simplestreams documents as values: a pure reading of the format.

No I/O, no clock, no event loop.
"""
