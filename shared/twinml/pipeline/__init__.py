"""The training pipeline: Azure ML v2 YAML, its steps' code, and what a REST client needs.

::

    pipeline.yml          prepare ──▶ train ──▶ evaluate ──▶ register ──▶ deploy
    pipeline-automl.yml   … ──▶ split ──▶ Azure's automl node ──▶ adopt ──▶ evaluate ──▶ …
    components/*.yml      one command each: python -m twinml.pipeline.steps.NAME
    environment/conda.yml what they need on Azure ML
    steps/                their code
    client                a published pipeline over REST: its URI and a key are enough

``DEFINITION`` runs on this machine as it is. ``stage`` makes a folder that runs on Azure ML
too, where this package is not installed.
"""

from twinml.pipeline._staging import DEFINITION, VARIANTS, stage

__all__ = ["DEFINITION", "VARIANTS", "stage"]
