"""What is asked for, in the client's order, and which checks look at the answers."""
