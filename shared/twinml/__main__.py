"""``python -m twinml`` is ``twinml``."""

from twinml.cli import main

main()
