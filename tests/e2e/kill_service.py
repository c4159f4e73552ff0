"""A job service of its own for a test of kills: one command a job, over standard streams.

Each line on standard input asks for a job, and is answered by its id once it is accepted.
SIGUSR1 throws an exception into one of the workers, wherever it is.
"""

import ctypes
import random
import signal
import sys
import threading
import uuid
from pathlib import Path

from azureml_runner.database import Database
from azureml_runner.engine import CommandNode, Control, Graph, make_plan, run_plan
from azureml_runner.pool import WorkerPool
from azureml_runner.store import Job, JobStore, jobs_table

FOLDER = Path(sys.argv[1])
# Two of a job at once would both find the lock held; the file goes when its holder dies.
COMMAND = f"""
exec 9>"{FOLDER}/locks/$JOB"
flock -n 9 || echo "$JOB" >>"{FOLDER}/overlaps"
sleep 0.05
"""


class Store(JobStore[Job]):
    def _job(self, row):
        return Job(row["id"], row["status"], row["attempt"], bool(row["cancel_requested"]))


class Pool(WorkerPool[Job]):
    def _run(self, job: Job, control: Control) -> None:
        node = CommandNode(COMMAND.replace("$JOB", job.id), max_retries=50)
        outcome = run_plan(
            make_plan(Graph({"only": node})), folder=self.job_directory(job.id), control=control
        )
        if self._store.finish(job, outcome.status):
            with (FOLDER / "finished").open("a") as file:
                file.write(f"{job.id} {outcome.status} {outcome.error or ''}\n")

    def _failed(self, job: Job, error: Exception) -> None:
        self._store.finish(job, "Failed")

    def _canceled(self, job: Job) -> None:
        self._store.finish(job, "Canceled")


class WorkerKilled(BaseException):
    """What a worker may die of: nothing catches it on its way."""


def kill_a_worker(*_):
    workers = [thread for thread in threading.enumerate() if thread.name.startswith("worker-")]
    chosen = ctypes.c_ulong(random.choice(workers).ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(chosen, ctypes.py_object(WorkerKilled))


def main() -> None:
    (FOLDER / "locks").mkdir(exist_ok=True)
    store = Store(Database(FOLDER / "jobs.db", jobs_table()))
    pool = Pool(store, FOLDER / "jobs", workers=4)
    pool.recover()
    pool.start()
    signal.signal(signal.SIGUSR1, kill_a_worker)
    print("ready", flush=True)  # noqa: T201
    for _ in sys.stdin:
        job_id = uuid.uuid4().hex
        store.add(job_id, {})
        pool.wake()
        print(job_id, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
