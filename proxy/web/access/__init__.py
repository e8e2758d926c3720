"""Who may read the mirrors: networks, users and their passwords.

Decides; which header asks for a password and which status says no is
`web/mirror_handler.py`'s and `web/status.py`'s business.
"""
