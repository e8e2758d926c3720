"""The configuration: read, validated as a whole, and held against the machine it is for."""
