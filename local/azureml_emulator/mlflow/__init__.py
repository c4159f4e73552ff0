"""MLflow as a workspace offers it: tracking, model registry, run history."""
