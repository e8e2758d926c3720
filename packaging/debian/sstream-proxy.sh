#!/bin/sh
# Root goes on as the user whose files are in the data directory, and where nothing is stored yet as the service's:
# no command can leave files there that the service cannot change.
SSTREAM_PROXY_USER="${SSTREAM_PROXY_USER-sstream-proxy}"
export SSTREAM_PROXY_USER
exec /usr/lib/sstream-proxy/bin/sstream-proxy "$@"
