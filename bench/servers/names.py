"""What servers are called in the results."""

OURS = "sstream-proxy"
REFERENCE = "nginx static"
"""What ours is held against."""
NO_LOG = ", no access log"
"""What the name of a server that writes no access log ends with."""
