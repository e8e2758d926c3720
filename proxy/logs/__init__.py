"""The log of one process: how events become lines, and how lines get to standard error.

The bottom of the tree: knows nothing of what is logged.
"""
