"""Static trees: what sstream-mirror, rsync or wget left in a folder, and what Apache or nginx can serve.

Knows of the cache only the Protocols of its store. Reads files that anybody may have made, and writes one
layout, always the same:

Root        DIR itself for one mirror; DIR/NAME for each of several.
Names       Each file lies at its canonical path below the root: decoded, so with a literal `:`.
Documents   All that the generation has, in every flavour, byte for byte; regular files, mode 0644.
            Their mtime is, in whole seconds, the date that the document states ("updated"), for a
            flavour that of its `.sjson` or `.json`; else the date of the index; else when the
            generation was accepted; never later than that. Where a document with other bytes lies
            already and is not older, one second more than it has: whoever asks with
            If-Modified-Since must see the difference.
Items       Mode 0444. A hard link to the cache's own file where that can be, with the mtime that it
            has; else a clone or a copy, whose mtime is the date of the index, as above. An item that
            is there already, whole, stays as it is.
Folders     Mode 0755. They are removed only when the last file in them was.
Ours        `.sstream-proxy/` (mode 0700) has drafts, the record of what was written, and until the next
            run the `streams/` before this one. It is no part of the tree, and no path of a mirror may
            begin with it.
Links       None below the root is followed, nor one that is put there while the tree is written.
Order       Items first, each under its name only once it is whole. Then documents outside of
            `streams/`. Then all of `streams/` at once, in exchange for the one before.
Strangers   A file that the record does not name is never changed, replaced or removed. Files in
            `streams/` that are none of ours stay there.
"""
