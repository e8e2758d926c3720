"""The servers that are compared: ours, and what people would use instead; and a slow origin.

Each is a context manager that yields a Server: where it listens and which
processes it is made of. All run in the foreground, on loopback, with a
configuration and a folder of their own; none is the system's service.
"""

from processes import Server, free_port

from servers.apache import apache_static
from servers.nginx import has_nginx, nginx_cache, nginx_static
from servers.ours import ONE_WORKER, ours, write_config
from servers.slow_origin import Pace, Seen, SlowOrigin, slow_origin
from servers.squid import squid_cache
from servers.varnish import varnish_cache

__all__ = [
    "ONE_WORKER",
    "Pace",
    "Seen",
    "Server",
    "SlowOrigin",
    "apache_static",
    "free_port",
    "has_nginx",
    "nginx_cache",
    "nginx_static",
    "ours",
    "slow_origin",
    "squid_cache",
    "varnish_cache",
    "write_config",
]
