"""The Azure side: the same verbs as on this machine, done by Azure Machine Learning v2.

::

    platform      the verbs, each a few calls of the SDK
    connection    which workspace, with which credential; the SDK's errors in one line
"""
