"""Heads of replies as careless or hostile servers write them: forgivable ones, and hopeless ones.

Each is a template with `%(size)d` for the length of the body that follows.
"""

MANY_DIGITS = b"9" * 4400


def ok(*fields: bytes, first: bytes = b"HTTP/1.1 200 OK", end: bytes = b"\r\n") -> bytes:
    """Return a head with these fields and the body's length."""
    return end.join([first, *fields, b"Content-Length: %(size)d", b"", b""])


FORGIVABLE = {
    "a field of 20 KiB": ok(b"X-Policy: " + b"x" * 20_000),
    "a block of 60 KiB": ok(*[b"X-%d: " % n + b"x" * 5900 for n in range(10)]),
    "200 fields": ok(*[b"X-%d: y" % n for n in range(200)]),
    "its length twice": ok(b"Content-Length: %(size)d"),
    "its length as a list": b"HTTP/1.1 200 OK\r\nContent-Length: %(size)d, %(size)d\r\n\r\n",
    "its length with zeros": b"HTTP/1.1 200 OK\r\nContent-Length: 000%(size)d\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : %(size)d\r\n\r\n",
    "identity": ok(b"Transfer-Encoding: identity"),
    "status 203": ok(first=b"HTTP/1.1 203 Non-Authoritative Information"),
    "no phrase": ok(first=b"HTTP/1.1 200"),
    "a phrase of binary": ok(first=b"HTTP/1.1 200 \xff\xfe\x01"),
    "HTTP/1.0": ok(b"Connection: close", first=b"HTTP/1.0 200 OK"),
    "HTTP/2 in letters": ok(first=b"HTTP/2 200"),
    "bare newlines": ok(b"Server: old", end=b"\n"),
    "lines before it": b"\r\n\r\n" + ok(),
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(),
    "100 and 102": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ok(),
    "a line that is no field": ok(b"what is this", b": nameless", b"\xff\xfe: \xfd"),
    "a folded field": ok(b"X-Long: a\r\n\tb\r\n c"),
    "a NUL": ok(b"X-Nul: a\0b"),
    "a type that cannot be read": ok(b"Content-Type: text/html; name*0*"),
    "types": ok(b"Content-Type: ;;;=;*=", b"Content-Type: text/html; charset*0*=\xff"),
    "a tag that is no UTF-8": ok(b'ETag: "\xff\xfe"'),
    "a tag of 8,170 bytes": ok(b'ETag: "' + b"e" * 8170 + b'"'),
    "a tag of surrogates": ok(b'ETag: "\xed\xa0\x80"', b"Last-Modified: \xed\xa0\x80"),
    "cookies": ok(b"Set-Cookie: a=\xff; expires=Thu, 99 Xyz 99999999", b"Set-Cookie: ;=;=" * 50),
    "links": ok(b"Link: <http://[]@>; rel=\xff", b"Refresh: 0; url=http://["),
    "a place though it redirects nowhere": ok(b"Location: http://[]@"),
    "an upgrade": ok(b"Connection: upgrade", b"Upgrade: h2c"),
    "keep-alive": ok(b"Keep-Alive: timeout=\xff", b"Connection: keep-alive, \xff"),
    "a range that nobody asked": ok(b"Content-Range: bytes 5-6/" + MANY_DIGITS),
}
"""Heads that leave no doubt about the body: its hash says what it is worth."""


def moved(location: bytes) -> bytes:
    """Return the head of a redirect."""
    return b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"


def part(content_range: bytes) -> bytes:
    """Return the head of a part."""
    return b"HTTP/1.1 206 Partial Content\r\nContent-Length: %(size)d\r\nContent-Range: " + (
        content_range + b"\r\n\r\n"
    )


HOPELESS = {
    "two lengths": ok(b"Content-Length: 7"),
    "a length of 4,400 digits": b"HTTP/1.1 200 OK\r\nContent-Length: " + MANY_DIGITS + b"\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a length in words": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 10_000,
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x16",
    "a status of words": b"HTTP/1.1 fine OK\r\n\r\n",
    "a status of 4 digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 000": b"HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n",
    "304 unasked": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "412": b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n",
    "a redirect to nowhere": moved(b"http://[]@"),
    "a redirect to half an address": moved(b"http://["),
    "a redirect to a port of words": moved(b"http://a.example:port/"),
    "a redirect to a large port": moved(b"http://a.example:99999999/"),
    "a redirect to binary": moved(b"http://\xff\xfe/\x01"),
    "a redirect to an empty name": moved(b"http://a..example/"),
    "a redirect to a long name": moved(b"http://" + b"a" * 3000 + b"/"),
    "a redirect of 9,000 bytes": moved(b"/" + b"a" * 9000),
    "a redirect without a place": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "a redirect to mail": moved(b"mailto:root@localhost"),
    "a redirect to itself": moved(b"?again"),
    "a part of 4,400 digits": part(b"bytes 0-" + MANY_DIGITS + b"/%(size)d"),
    "a part of a whole of 4,400 digits": part(b"bytes 0-5/" + MANY_DIGITS),
    "a part of nothing": part(b""),
    "a part in other digits": part("bytes \u0660-\u0665/\u0666".encode()),
    "a part that ends before it begins": part(b"bytes 5-0/%(size)d"),
    "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a chunk of many digits": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
}
"""Heads with which nothing can be done, but ask another origin."""


def filled(template: bytes, size: int) -> bytes:
    """Return a head for a body of so many bytes."""
    return template.replace(b"%(size)d", b"%d" % size)
