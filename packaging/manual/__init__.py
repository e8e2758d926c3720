"""What the code says of itself, for people: facts of commands, settings, metrics, API and log, as pages.

Each module of facts reads one part of the program; `markdown` and `roff` know how pages look and nothing
of where facts come from.
"""
