"""What a side of the workflow implements, whichever side it is.

::

    verbs      Platform: the verbs that every side has, and the values that they take and give
    abilities  what only some sides can do: plan, check, remove, train, rehearse
"""

from twinml.platform.verbs import (
    PLATFORMS,
    DataAsset,
    Deployed,
    EndpointInfo,
    Keys,
    ModelVersion,
    PipelineClient,
    PipelineInfo,
    PipelineJob,
    Platform,
    Schedule,
    available,
    busiest,
    endpoint_name,
    load,
)

__all__ = [
    "PLATFORMS",
    "DataAsset",
    "Deployed",
    "EndpointInfo",
    "Keys",
    "ModelVersion",
    "PipelineClient",
    "PipelineInfo",
    "PipelineJob",
    "Platform",
    "Schedule",
    "available",
    "busiest",
    "endpoint_name",
    "load",
]
