"""Online deployments: models served by Microsoft's real inference server, in real environments."""
