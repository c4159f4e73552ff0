"""The loop on a small table whose world changes: real endpoint, real pipeline, real registry."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from twinml.cli import main
from twinml.registry.promotion import promotions
from twinml.registry.tracking import Tracking

pytestmark = pytest.mark.e2e

MONTH_ROWS = 800


def month(name: str, seed: int, *, changed: bool) -> pd.DataFrame:
    """Return rows of one month; when the world has changed, the old rule is wrong."""
    rng = np.random.default_rng(seed)
    income = rng.normal(60_000 if changed else 30_000, 8_000, MONTH_ROWS).round(2)
    age = rng.integers(18, 90, MONTH_ROWS)
    job = rng.choice(["admin", "technician", "student"], MONTH_ROWS)
    signal = (age - 54) / 10 * (-1 if changed else 1) + (job == "student")
    bought = signal + rng.normal(0, 0.7, MONTH_ROWS) > 0.3
    return pd.DataFrame(
        {"age": age, "income": income, "job": job, "month": name,
         "y": np.where(bought, "yes", "no")}
    )  # fmt: skip


@pytest.fixture
def months_csv(tmp_path: Path) -> Path:
    table = pd.concat(
        [
            month("jan", 1, changed=False),
            month("feb", 2, changed=False),
            month("mar", 3, changed=False),
            month("apr", 4, changed=True),
            month("may", 5, changed=True),
            month("jun", 6, changed=True),
        ]
    )
    path = tmp_path / "sales_log.csv"
    table.to_csv(path, index=False)
    return path


def twinml(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_the_loop_learns_what_changed(months_csv: Path) -> None:
    try:
        found = twinml(
            *("replay", "--data", str(months_csv), "--target", "y", "--period", "month"),
            *("--start", "2", "--window", "800", "--trials", "2", "--share", "20"),
            *("--learners", "LightGBM,LogisticRegression"),
        )
        entries = found["entries"]
        assert isinstance(entries, list)
        calm, change, learned, after = entries
        # Nothing changed in March: nothing was trained.
        assert (calm["label"], calm["why"], calm["proposed"]) == ("mar", "", None)
        assert calm["first"] == calm["kept"]
        # April is another world: noticed, and a challenger is proposed.
        assert "income" in change["drifted"]
        assert "was promised" in change["why"]
        assert change["proposed"] == "sales_log-replay/2"
        # In May it has a part of the traffic, and is promoted when the labels are there.
        assert learned["challenger"] == "sales_log-replay/2"
        assert learned["decision"] == "promoted"
        assert learned["kept"]["loss"] < learned["first"]["loss"]
        # In June it is champion; the first model is still wrong.
        assert after["champion"] == "sales_log-replay/2"
        assert after["kept"]["loss"] < 0.7 < after["first"]["loss"]
        trail = promotions(Tracking(), "sales_log-replay")
        assert [(one.version, one.by, one.complete) for one in trail] == [
            ("2", "twinml replay", True)
        ]
        assert trail[0].reason.startswith("may: ")
        page = Path(str(found["report"])).read_text(encoding="utf-8")
        assert "sales_log-replay/2 promoted" in page
        picture = Path(str(found["picture"])).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 150_000
        # The endpoint was the replay's own, and is gone with it.
        status = twinml("status")
        assert status["endpoints"] == []
    finally:
        twinml("stop")


def test_a_file_without_periods_is_asked_for_one(months_csv: Path) -> None:
    result = CliRunner().invoke(main, ["replay", "--data", str(months_csv), "--target", "y"])
    assert result.exit_code == 1
    assert "--period" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--period", "week"], "no column 'week'"),
        (["--period", "3000"], "cannot be cut"),
        (["--period", "month", "--start", "6"], "too few"),
        (["--period", "month", "--ignore", "price"], "no column 'price'"),
        (["--period", "month", "--share", "60"], "share is 60"),
        (["--period", "month", "--pause", "-1"], "pause is -1"),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    months_csv: Path, arguments: list[str], words: str
) -> None:
    call = ["replay", "--data", str(months_csv), "--target", "y", *arguments]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 1
    assert words in result.stderr
