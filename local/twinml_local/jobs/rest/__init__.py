"""The REST API of the published pipelines."""
