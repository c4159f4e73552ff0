"""FLAML, imported so that it leaves Spark alone.

Where pyspark is installed, importing FLAML 2.7.0 asks pandas-on-Spark for an option, which
starts a Java machine that listens on the network, in every process that trains. Our search on
Spark keeps FLAML's searchers in the driver (docs/decisions), so FLAML need not know of Spark.
"""

from __future__ import annotations

import sys

__all__ = ["CFO", "tune"]

_HIDDEN = ("pyspark", "pyspark.pandas")

_kept = {name: sys.modules[name] for name in _HIDDEN if name in sys.modules}
# An entry of None makes an import fail as if the package were not installed.
sys.modules.update(dict.fromkeys(_HIDDEN))  # type: ignore[arg-type]
try:
    from flaml import CFO, tune
finally:
    for _name in _HIDDEN:
        del sys.modules[_name]
    sys.modules.update(_kept)
