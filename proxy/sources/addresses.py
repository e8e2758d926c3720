"""Addresses of origins, as the configuration writes them."""

from yarl import URL


def shown_url(url: str) -> str:
    """Return a URL without credentials."""
    return str(URL(url).with_user(None)) if "@" in url else url
