"""What we need of the operating system beyond what Python's libraries give."""
