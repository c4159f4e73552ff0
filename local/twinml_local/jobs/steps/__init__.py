"""What the steps of a job find on this machine: assets, an interpreter, an MLflow run."""
