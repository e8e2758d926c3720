"""What is carried between sites by hand: its form, and how it is read and written.

A bundle is an OCI image layout. `contents.py` says what one holds, in the terms of mirrors;
`oci.py` says the same in the terms of OCI. Nothing here knows the cache: what is read here
proves nothing, and is verified by whoever imports it.
"""
