"""Items on their way into the store, shared by everybody who waits for them."""
