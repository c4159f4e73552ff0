"""A stand-in for Azure Machine Learning on this machine, for code written with its SDK.

::

    your code, unchanged ──HTTPS_PROXY──▶ proxy ──▶ router ──┬─▶ management   resources (ARM)
                                          TLS ends here      ├─▶ storage      blobs
                                                             ├─▶ login        tokens
                                                             └─▶ refusal      all other hosts

``python -m azureml_emulator`` serves it and prints the variables that point the SDK at it.
What is acknowledged is on disk, in one folder, and survives ``kill -9``. Nothing is ever
sent on to another machine.
"""
