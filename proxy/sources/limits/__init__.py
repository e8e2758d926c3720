"""Limits of what is received from upstream, shared by all processes on a data directory."""
