"""What facts mean for a client: exchanges, verdicts and documents in, findings out. Pure."""
