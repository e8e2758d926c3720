"""Counting what happens, in files that all processes share and that outlive them.

The bottom of the tree: knows nothing of what is counted.
"""
