"""Runs and registered models in MLflow, and the way of a model to the top.

::

    listing       registered models, read without loading MLflow where that can be
    model_files   the files of a model, registered or a folder
    store         the database behind it: its lock, its schema, where files go
    pages         what MLflow's pages show of a training
    store_errors  what databases and disks refuse, in words
    tracking      runs, models and their versions, on any tracking URI
    training_run  a training with its records, or the same one found again
    aliases       which versions are champion and challenger
    champion      whether a challenger is better
    promotion     a challenger becomes champion, on record
"""
