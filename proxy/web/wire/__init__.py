"""Connections with clients, as bytes: limits, prepared replies, and how bodies are sent."""
