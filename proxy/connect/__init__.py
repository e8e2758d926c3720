"""Making clients use the proxy: MAAS by its API, LXD and Incus by their own commands.

What is to be changed is decided purely (`plan`, `undoing`), written down before it is
done (`record`), and done by `carrying_out`. Knows nothing of the cache.
"""
