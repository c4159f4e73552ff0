"""Whole workflows, written once against ``Platform``.

``Workflow`` takes a data set through eleven steps, from its registration to a pipeline that is
run over REST; ``workflow.replay`` shows on past periods how retraining keeps a model up to date.
"""

from __future__ import annotations

from twinml.workflow._run import DEPLOYMENT, STEPS, Step, Watcher, Workflow, WorkflowResult

__all__ = ["DEPLOYMENT", "STEPS", "Step", "Watcher", "Workflow", "WorkflowResult"]
