"""Mutation testing: change the code in one place at a time, and see whether a test notices.

`nox -s mutation` runs it. Changing *documents*, to see what parsers do, is `support/garbled.py`.
"""
