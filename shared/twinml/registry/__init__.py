"""Runs and registered models in MLflow, and the way of a model to the top.

::

    tracking      runs, models and their versions, on any tracking URI
    training_run  a training with its records, or the same one found again
    aliases       which versions are champion and challenger
    champion      whether a challenger is better
    promotion     a challenger becomes champion, on record
"""
