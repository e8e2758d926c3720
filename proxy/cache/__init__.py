"""The cache: joins what the store holds with what upstream offers.

Owns mirrors, their generations and fills. Knows no HTTP server.
"""
