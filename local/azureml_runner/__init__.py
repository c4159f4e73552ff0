"""Runs jobs of Azure ML's v2 kind on this machine; knows neither Azure nor twinml.

::

    engine       a pipeline run to its end in a folder: plan, steps, retries, reuse, recovery
    store        the life of jobs, in SQLite; the queue
    pool         workers that take queued jobs, cancel, recovery after a kill
    clock        when schedules are due, and what is missed
    service      a detached server: started, waited for, ended
    errors       what the runner refuses, in one shape
    files        whole or not at all: atomic writes, digests
    locks        one holder at a time, over processes
    processes    detached processes, by pid and start time; free ports
    logs         the last lines of a log and its rotated parts
    timestamps   the time, as text
    database     one SQLite file, shared by threads
"""
