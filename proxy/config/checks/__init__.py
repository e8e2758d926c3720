"""Finding fault with what is configured: values that cannot work, and that do not fit together."""
