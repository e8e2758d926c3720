"""Blobs as files of this machine: one directory, shared by processes, with locks on the files.

    blobs/sha256/ab/<64 hex>   verified bytes; written once, never changed
    incoming/<64 hex>          the beginning of a blob, as far as it has arrived
    incoming/put-*             drafts: what is written or removed at once, nobody's if it is not locked
    quarantine/<64 hex>        a blob that was found damaged

Knows digests, never paths of mirrors. A reader holds a shared lock on its blob; what
is locked is not removed. The writer of a partial file holds an exclusive lock on it.
Nothing outside this package knows its paths.
"""
