"""One item over several connections: parts of it are fetched ahead of the place where it is written.

`window.py` keeps what is fetched and what has come, `climb.py` decides how many connections
are worth it, `lengths.py` how long a part is. `hosts.py` is what all items of a process share: how many
connections a host gets, which hosts asked for a pause, how much memory there is. `ahead.py`
runs the transfers. Nothing here knows digests, files or HTTP.
"""
