"""The documents of mirrors: fetched, verified, accepted as generations, and served as editions."""
