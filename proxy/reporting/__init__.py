"""What the proxy says of itself: figures, in words, as plots, for Prometheus.

Reads everything, changes nothing, knows no HTTP.
"""
