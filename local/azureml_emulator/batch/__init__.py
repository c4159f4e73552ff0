"""Batch endpoints: deployments of pipelines and models, each invocation a job."""
