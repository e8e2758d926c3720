"""sstream-proxy: a content-addressed caching proxy for simplestreams."""

__version__ = "0.1.0"
