"""Probes that need training rows, answers to single features, and the command with its page."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from werkzeug.serving import make_server

from twinml import model
from twinml.cli import main
from twinml.contract import Contract, infer_contract
from twinml.errors import UsageError
from twinml.model import ood
from twinml.probe import run as probe
from twinml.probe._neighbours import nearest_rows
from twinml.probe._perturbations import perturbations
from twinml.probe._response_curves import read_monotonic, sweep
from twinml.probe._unseen_pairs import unseen_pairs
from twinml_local.server import Serving, create_app
from twinml_local.server.deployments.deployment import load

Rows = list[dict[str, Any]]


def calls(n: int = 800) -> tuple[pd.DataFrame, Contract]:
    """Return rows where who was never called has no outcome, and the months of a season."""
    rng = np.random.default_rng(0)
    previous = rng.integers(0, 4, n)
    frame = pd.DataFrame(
        {
            "previous": previous,
            "pdays": np.where(previous == 0, -1, rng.integers(1, 400, n)),
            "outcome": np.where(previous == 0, "none", rng.choice(["won", "lost"], n)),
            "month": rng.choice(["jan", "may", "dec"], n),
        }
    )
    labels = pd.Series(np.where(rng.random(n) < 0.5, "yes", "no"), name="y")
    return frame, infer_contract(frame, labels, name="calls")


def test_pairs_that_never_come_together_are_found_and_sent():
    frame, contract = calls()
    found = unseen_pairs(contract, frame)
    told = {(one.first, one.first_value, one.second, one.second_value) for one in found}
    assert told
    for first, value, second, other in told:
        assert not ((frame[first] == value) & (frame[second] == other)).any()
        assert {first, second} <= {"previous", "pdays", "outcome"}
    base = frame.head(5).to_dict("records")
    sent = [one for one in perturbations(contract, base, frame) if one.probe == "impossible pair"]
    assert len(sent) == len(found)
    assert all(one.outside == len(one.rows) for one in sent)
    assert not any(one.probe == "impossible pair" for one in perturbations(contract, base))


def test_independent_columns_have_no_impossible_pairs():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.choice(list("abcdef"), (2000, 12)), columns=list("ABCDEFGHIJKL"))
    labels = pd.Series(rng.choice(["no", "yes"], 2000), name="y")
    assert unseen_pairs(infer_contract(frame, labels, name="letters"), frame) == []


def test_months_move_on_in_the_calendar():
    frame, contract = calls()
    base = [row for row in frame.to_dict("records") if row["month"] == "dec"][:2]
    moved = {
        one.probe: {row["month"] for row in one.rows}
        for one in perturbations(contract, base)
        if one.feature == "month"
    }
    assert moved["next in calendar"] == {"jan"}
    assert moved["half a turn on"] == {"jun"}
    assert "next in calendar" not in {
        p.probe for p in perturbations(contract, base) if p.feature == "outcome"
    }


def test_the_nearest_training_row_is_the_nearest():
    frame, contract = calls()
    row = frame.iloc[17].to_dict()
    (same,) = nearest_rows(contract, frame, [row])[0]
    assert (same.distance, same.differs) == (0, ())
    odd = row | {"month": "never", "pdays": 10**15}
    (found,) = nearest_rows(contract, frame, [odd])[0]
    assert found.distance == pytest.approx(0.5)
    assert set(found.differs) == {"month", "pdays"}
    two = nearest_rows(contract, frame, [row], k=2)[0]
    assert two[0].distance <= two[1].distance


def rising(rows: Rows) -> list[list[float]]:
    """Rise with x to 60, fall beyond."""
    shares = [0.1 + 0.01 * min(row["x"], 120 - row["x"]) for row in rows]
    return [[1 - share, share] for share in np.clip(shares, 0.001, 0.999)]


def test_a_sweep_shows_flips_and_broken_declarations():
    frame = pd.DataFrame({"x": np.arange(101), "job": ["a", "b", "a", "b"] * 25 + ["a"]})
    labels = pd.Series(["no", "yes"] * 50 + ["no"], name="y")
    contract = infer_contract(frame, labels, name="hill")
    rows = frame.head(10).to_dict("records")
    declared = read_monotonic(contract, ["x:+"])
    strongest, other = sweep(contract, rising, rows, monotonic=declared)
    assert (strongest.feature, other.feature) == ("x", "job")
    assert other.reach == 0
    assert strongest.flipping == 1  # from below one half to above it
    assert strongest.violations == 10  # it falls beyond 60
    assert strongest.inside.count(False) == 6
    assert sweep(contract, rising, rows)[0].violations == 0
    for words, said in (("x", "declares nothing"), ("job:+", "no numeric feature")):
        with pytest.raises(UsageError, match=said):
            read_monotonic(contract, [words])


def test_probes_carry_the_out_of_distribution_score():
    frame, contract = calls()
    scorer = ood.fit(frame, contract)

    def ood_score(rows: Any) -> Any:
        return scorer.score({name: [row[name] for row in rows] for name in frame}, len(rows))

    result = probe.run(
        contract,
        lambda rows: [[0.5, 0.5] for _ in rows],
        frame.to_dict("records"),
        reference=frame,
        ood_score=ood_score,
    )
    by_probe = {(shift.feature, shift.probe): shift.ood for shift in result.shifts}
    assert by_probe["pdays", "huge"] == 1
    assert by_probe["month", "unseen category"] == 1
    assert 0.3 < by_probe["previous", "impossible pair"] < 1
    json.dumps(result.to_dict())


@pytest.fixture(scope="module")
def address(described_model: Path) -> Iterator[str]:
    deployment = load(
        "blue", described_model, model="customers:1", digest=model.digest(described_model)
    )
    serving = Serving("shop", {"blue": deployment}, {"blue": 100}, ["key"])
    server = make_server("127.0.0.1", 0, create_app(lambda: serving), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/score"
    server.shutdown()
    thread.join()


def test_the_command_writes_a_page_and_fails_on_a_broken_declaration(
    address: str, described_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PROBE_KEY", "key")
    page = tmp_path / "probe.html"
    words = ["probe", "--url", address, "--key-env", "PROBE_KEY", "--model", str(described_model)]
    done = CliRunner().invoke(
        main, [*words, "--monotonic", "age:-", "--base", "8", "--out", str(page), "--json"]
    )
    assert done.exit_code == 1, done.output  # "yes" becomes more frequent with age
    shape = json.loads(done.stdout)
    age = next(one for one in shape["responses"] if one["feature"] == "age")
    assert age["declared"] == "-"
    assert age["violations"] > 0
    assert shape["nearest"][0]["distance"] > 0
    text = page.read_text(encoding="utf-8")
    assert "Monotonic where declared" in text
    assert "Nearest training rows" in text
    assert text.count("<img") == 2
    assert CliRunner().invoke(main, [*words, "--base", "8"]).exit_code == 0
