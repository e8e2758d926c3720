"""The cache as the web face and the jobs see it."""
