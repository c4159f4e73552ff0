"""A pipeline as it is published: Azure ML's YAML read into the graph of the runner."""
