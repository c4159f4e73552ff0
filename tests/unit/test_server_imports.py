"""The process that only minds the workers stays small."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("heavy", ["flask", "numpy", "pandas", "sklearn", "mlflow"])
def test_the_server_process_imports_no_application(heavy: str) -> None:
    code = f"import sys, twinml_local.server.__main__; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_names_of_the_room_are_there_when_asked_for() -> None:
    from twinml_local import server

    assert [getattr(server, name).__name__ for name in server.__all__] == server.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        server.nothing  # noqa: B018
