"""The interface that every platform implements: local, Azure ML, or the rehearsal.

::

    Assets      registers data and models          DataAsset, ModelVersion, TrainedModel
    Endpoints   deploys, shares out, describes      EndpointInfo, Deployed, Keys
    Pipelines   publishes, runs, schedules          PipelineInfo, PipelineJob, Schedule
    Lifecycle   brings back and ends
    Platform    all of these; ``load`` finds one by its name

``twinml.platform.abilities`` is what only some sides can do: plan, check, remove, train,
rehearse.
"""

from twinml.platform._assets import Assets, DataAsset, ModelReference, ModelVersion, TrainedModel
from twinml.platform._endpoints import (
    Deployed,
    EndpointInfo,
    Endpoints,
    Keys,
    busiest,
    endpoint_name,
)
from twinml.platform._pipelines import (
    PipelineClient,
    PipelineInfo,
    PipelineJob,
    Pipelines,
    Schedule,
)
from twinml.platform._platform import PLATFORMS, Lifecycle, Platform, available, load

__all__ = [
    "PLATFORMS",
    "Assets",
    "DataAsset",
    "Deployed",
    "EndpointInfo",
    "Endpoints",
    "Keys",
    "Lifecycle",
    "ModelReference",
    "ModelVersion",
    "PipelineClient",
    "PipelineInfo",
    "PipelineJob",
    "Pipelines",
    "Platform",
    "Schedule",
    "TrainedModel",
    "available",
    "busiest",
    "endpoint_name",
    "load",
]
