"""Scoring requests: the front that answers them, the service that scores, mirrored copies."""
