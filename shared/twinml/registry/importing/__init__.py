"""Models that were made elsewhere, brought into the registry as models like any other."""

from twinml.registry.importing._address import of_address
from twinml.registry.importing._import import Imported, import_model

__all__ = ["Imported", "import_model", "of_address"]
