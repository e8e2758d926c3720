"""OpenPGP: keyrings, and what is proved by them."""
