"""Requests, and one reader for each way they arrive."""
