"""The pipeline service: published pipelines, each behind a key-protected REST endpoint.

::

    lifecycle ──starts──▶ __main__ ─┬─ service   REST: accepts jobs, tells about them
    (publish, run, stop)            ├─ store     definitions and jobs, SQLite, durable
                                    ├─ queue     huey on SQLite: wakes a worker
                                    ├─ runner    runs a job's steps, one after the other
                                    │   └─ step  one process: start, wait, end
                                    └─ recovery  after a crash: what ran is run again

The store is the truth; the queue only says when to look. A job is accepted once its row is
on disk, and completed by one transaction, so that a crash neither loses nor repeats it.
"""
