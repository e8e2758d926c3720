"""Loads other than whole downloads: wrk, one that has bodies discarded, a probe, clients that read slowly."""
