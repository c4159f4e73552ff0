"""The way of a scoring request: the front that all requests meet, and mirrored copies."""
