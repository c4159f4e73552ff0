"""Routes of the server that do not score: about the endpoint, its documents, feedback."""
