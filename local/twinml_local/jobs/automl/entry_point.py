"""What twinml offers to ``azureml_emulator``: reading AutoML tasks, and running them.

The emulator finds this module by the entry point ``azureml_emulator.automl``; what it takes for
granted of it is said there, in ``azureml_emulator.jobs._automl``.
"""

from twinml.errors import TwinmlError
from twinml_local.jobs.automl._search import run_search
from twinml_local.jobs.automl._task import TaskNotRun, read_task

__all__ = ["TaskNotRun", "TwinmlError", "read_task", "run_search"]
