"""The processes of the service: who starts, watches and ends them, and what they inherit."""
