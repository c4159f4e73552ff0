"""Pipelines on this machine: an engine that runs them, and a service that publishes them.

::

    lifecycle ──starts──▶ __main__ ─┬─ service     REST: accepts jobs, tells about them
    (publish, run, stop)            ├─ store       definitions, jobs, schedules: SQLite, durable
                                    ├─ schedules   starts what is due, once
                                    ├─ queue       huey on SQLite: wakes a worker
                                    ├─ runner      runs a job ──▶ engine: graph, plan, executor
                                    │    ├─ surroundings  assets, interpreter, variables
                                    │    └─ recording     MLflow: a run, nested runs
                                    └─ recovery    after a crash: what ran goes on

    definition ──▶ nodes, schema    Azure ML's YAML read into the engine's graph

The store is the truth; the queue only says when to look. A job is accepted once its row is
on disk, and completed by one transaction, so that a crash neither loses nor repeats it. The
engine (``azureml_runner.engine``) stands alone.
"""
