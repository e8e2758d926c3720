"""The HTTP server as real simplestreams clients need it.

The only user of aiohttp's server side. Knows neither SQLite nor GnuPG.
"""
