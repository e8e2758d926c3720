"""Jobs: work that nobody waits for with an open connection, such as prefetching.

Uses the cache as the web face does. Knows no HTTP server and no terminal.
"""
