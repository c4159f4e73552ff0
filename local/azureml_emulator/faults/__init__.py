"""Injected faults: requests are refused, delayed or dropped by rule.

::

    METHOD PATTERN EFFECT [after N] [once | N times | always]

    PUT */onlineEndpoints/* 409 once
    * management.azure.com/* 429 retry-after=2 3 times
    PUT */deployments/* image-build-failure once
    GET */mfeOperationsStatus/* reset after 2 once

At the start by ``python -m azureml_emulator --fault RULE``, later by
``python -m azureml_emulator.faults RULE``.
"""

from azureml_emulator.faults.plan import FaultPlan
from azureml_emulator.faults.rule import Rule

__all__ = ["FaultPlan", "Rule"]
