"""HTTP/1.1 by hand, for facts that libraries hide: false encodings, cut bodies, what follows a reply.

It knows no client and no simplestreams.
"""
