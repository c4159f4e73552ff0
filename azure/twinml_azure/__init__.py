"""The Azure side: the same verbs as on this machine, done by Azure Machine Learning v2.

::

    platform      the verbs, each a few calls of the SDK
    connection    which workspace, with which credential; the SDK's errors in one line
    resources     names, tags and sizes of what is made, and finding it again
    assets        data and models
    training      a search as a command job, and Azure's AutoML
    inventory     the plan of a run, and the teardown
    preflight     what stands in the way of a run
    pipelines     component YAML behind a batch endpoint, schedules
    pipeline_jobs the jobs of a published pipeline, over REST
    rehearsal     the same platform with the emulator in Azure's place
"""
