"""The steps of the training pipeline: small commands that run anywhere.

Each is ``python -m twinml.pipeline.steps.NAME``, takes files and values as options, writes
files, and finds MLflow by the environment, so that this machine, Azure ML and a shell can run
it alike::

    prepare ──▶ train ──▶ evaluate ──▶ register ──▶ deploy
    check the   search,   against the  if better:   as a challenger,
    data        fit       champion     with why     if asked for

With an AutoML node in place of train: ``split`` holds out rows, ``adopt`` takes its model::

    prepare ──▶ split ──▶ (automl) ──▶ adopt ──▶ evaluate ──▶ …
"""
