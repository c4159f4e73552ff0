"""One workflow, two platforms, one proof.

The package that both sides run: data, contract, training, model, endpoint client,
workflow and the command line. It imports neither ``twinml_local`` nor ``twinml_azure``;
platforms are found through the entry-point group ``twinml.platforms``.
"""

__version__ = "0.1.0"
