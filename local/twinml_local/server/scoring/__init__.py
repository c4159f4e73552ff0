"""The way of a scoring request: Flask's route and the lane before it, and mirrored copies."""
