"""Loads other than whole downloads: wrk, a probe of latency, clients that read slowly."""
