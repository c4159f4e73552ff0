"""Pipelines on this machine: a service that publishes them and runs their jobs.

::

    lifecycle ──starts──▶ __main__ ─┬─ service     REST: accepts jobs, tells about them
    (publish, run, stop)            ├─ store       definitions, jobs, schedules: SQLite, durable
                                    ├─ schedules   starts what is due, once
                                    └─ runner      workers ──▶ azureml_runner.engine
                                         ├─ surroundings  assets, interpreter, variables
                                         └─ recording     MLflow: a run, nested runs

    definition ──▶ nodes, schema    Azure ML's YAML read into the engine's graph

The store is the queue: a job is accepted once its row is on disk, and completed by one
transaction, so that a crash neither loses nor repeats it.
"""
