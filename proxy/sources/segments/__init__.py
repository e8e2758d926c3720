"""One item over several connections: parts of it are fetched ahead of the place where it is written.

`window.py` keeps what is fetched and what has come. `slowness.py` decides whether one connection
is too slow, `climb.py` how many are worth it, `seats.py` to which origins, `next_part.py` which part each
fetches next, `lengths.py` how long it is.
`hosts.py` is what all items of a process share: how many connections a host gets, which hosts asked
for a pause, how much memory there is; `allowances.py` knows which hosts refused more connections.
`connections.py` knows those that an item has, and what each brings; `ahead.py` runs their transfers, as
tasks of `part_tasks.py`, and ends the main one by `relief.py` when its bytes have come otherwise.
`observations.py` tells what they show of their hosts.
Nothing here knows digests, files or HTTP.
"""
