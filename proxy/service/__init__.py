"""The cache as the HTTP server, the jobs and the operator see it."""
