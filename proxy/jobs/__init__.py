"""Jobs: work that nobody waits for with an open connection, such as prefetching.

Uses the cache as the HTTP server does. Knows neither that nor a terminal.
"""
