"""Twinml's own steps without the wait for imports: forks of one process that has imported.

MLflow, scikit-learn and the learners take five to ten seconds to import, more than most steps
need to work, and a job of five steps pays it five times. So the service keeps a *warm* process
that has imported them and done nothing else, and a step is a fork of it::

    sh ─▶ python (launcher) ═══ socket ═══ warm process
          stays in the step's session         └─fork─▶ the step, with the launcher's files,
          waits, exits as the step did                 folder, environment and arguments

For the engine nothing changes: the launcher is the step's process, found as ``python`` on the
step's ``PATH``. It lives as long as the step does, ends with its exit code or by its signal,
and when it is killed the kernel kills the step. A launcher that finds no warm process becomes
an ordinary Python.

Only ``python -m twinml.pipeline.steps.…`` without code or variables of its own runs so, and
only on Linux; ``TWINML_PIPELINE_WARM=off`` leaves it out.
"""

from __future__ import annotations

from twinml_local.jobs.warm._keeper import WarmSteps

__all__ = ["WarmSteps"]
