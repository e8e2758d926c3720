"""The HTTP server as real simplestreams clients need it.

The only user of aiohttp's server side. Knows neither SQLite nor GnuPG.
"""

from proxy import __version__

SERVER_NAME = f"sstream-proxy/{__version__}"
"""What replies say of who answers."""
