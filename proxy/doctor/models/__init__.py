"""What each client needs to find in an index and in a list. Pure: parsed documents in, words out."""
