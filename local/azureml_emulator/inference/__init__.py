"""Online deployments: a model in its own environment, served by Microsoft's inference server.

::

    order ──► plan ──► environment ──► container ──► front end
    (what)    image.py  (venvs)         container.py   front.py
              └──────────── fleet.py ─────────────┘

``inside/`` has what is put into a container: the launcher, the score script for MLflow models,
and the versions of the server's own packages. Nothing in this room knows of HTTP routes of the
management plane or of SQLite: an ``Order`` comes in, a ``Container`` on loopback comes out.
"""

from azureml_emulator.inference._container import Container
from azureml_emulator.inference._fleet import DeploymentFailed, Fleet
from azureml_emulator.inference._image import Order

__all__ = ["Container", "DeploymentFailed", "Fleet", "Order"]
