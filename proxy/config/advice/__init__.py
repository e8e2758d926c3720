"""Warnings about a configuration that can be used: what its writer may not have meant, or not know."""
