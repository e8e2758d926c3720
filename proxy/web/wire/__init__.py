"""Connections with clients, as bytes: admission, ready replies, and how bodies are sent."""
