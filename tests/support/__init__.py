"""What tests are made with: an origin that misbehaves on demand, throw-away keys, mirror trees."""
