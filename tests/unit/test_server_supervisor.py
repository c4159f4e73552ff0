"""When the next worker is forked."""

import pytest

pytest.importorskip("uvloop")

from twinml_local.server.process._supervisor import pause_before_fork


@pytest.mark.parametrize(
    ("deaths", "seconds"),
    [
        (0, 0.0),
        (1, 0.0),
        (2, 0.05),
        (3, 0.1),
        (4, 0.2),
        (9, 6.4),
        (10, 10.0),
        (100, 10.0),
        (10_000, 10.0),
    ],
)
def test_pauses_grow_to_a_bound(deaths: int, seconds: float) -> None:
    assert pause_before_fork(deaths) == pytest.approx(seconds)
