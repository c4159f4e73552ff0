"""Compiled models as files: arrays, a description and the kernel, without a pickle."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azureml_runner.files import write_atomic
from twinml.errors import ModelError
from twinml.training.log_target import Bounds
from twinml_local.compiled import _kernel
from twinml_local.compiled._encoding import Codes, Encoding
from twinml_local.compiled._layout import LINEAR
from twinml_local.compiled._linear import Linear, Product
from twinml_local.compiled._model import Blended, CompiledModel, Members, Stacked, Voted
from twinml_local.compiled._nodes import Forest
from twinml_local.compiled._origin import (
    ARRAYS,
    CODE,
    DESCRIPTION,
    changed_versions,
    digest_of_form,
    read_form,
    versions,
)
from twinml_local.compiled._preparation import Preparation

__all__ = ["load", "save"]

FORMAT_VERSION = 6
# Before the names of the arrays of what blends the members.
_FINAL = "final."


def save(model: CompiledModel, directory: Path) -> None:
    """Write a model into ``directory``: arrays, a description and the kernel.

    The description comes last, so that what has one is whole.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / DESCRIPTION).unlink(missing_ok=True)
    join, members = model.join, model.members
    arrays = _of_trees(members)
    for place, linear in members.linear.items():
        for name, values in linear.arrays().items():
            arrays[f"linear.{place}.{name}"] = values
    if isinstance(join, Voted):
        arrays["join.weights"] = join.weights
        joined: dict[str, Any] = {"kind": "vote", "scale": join.scale}
    elif isinstance(join, Blended):
        final = _of_trees(join.final.members)
        arrays |= {f"{_FINAL}{name}": values for name, values in final.items()}
        joined = {"kind": "blend", "numbers": list(join.final.encoding.numbers)}
    else:
        arrays["join.coefficients"] = join.coefficients
        arrays["join.intercept"] = join.intercept
        joined = {
            "kind": "stack",
            "low": join.low,
            "high": join.high,
            "by_column": join.by_column,
            "odds": join.odds,
        }
    if model.preparation is not None:
        for name, values in model.preparation.arrays().items():
            arrays[f"preparation.{name}"] = values
    np.savez(directory / ARRAYS, allow_pickle=False, **arrays)
    (directory / CODE).write_bytes(_kernel.sealed(model._kernel))
    description = {
        "format_version": FORMAT_VERSION,
        "digest": model.digest,
        "portable": model.portable,
        "kernel": _kernel.key(portable=model.portable),
        # Where the pipeline is not there to be asked, numpy alone computes.
        "versions": {"numpy": versions()["numpy"]} if model.portable else versions(),
        "classes": list(model.classes),
        "threshold": model.threshold,
        "by_score": model.by_score,
        "join": joined,
        "logarithms": {
            place: [bounds.low, bounds.high] for place, bounds in members.logarithms.items()
        },
        "numbers": list(model.encoding.numbers),
        "clip": [_shown(model.encoding.low), _shown(model.encoding.high)],
        "codes": {
            name: {
                "known": dict(codes.known),
                "null": _shown(codes.null),
                "unknown": _shown(codes.unknown),
                "number": None if codes.number is None else _shown(codes.number),
                "nan": None if codes.nan is None else _shown(codes.nan),
            }
            for name, codes in model.encoding.codes.items()
        },
    }
    write_atomic(directory / DESCRIPTION, json.dumps(description))


def _of_trees(members: Members) -> dict[str, NDArray[Any]]:
    """Return the arrays of the members that are made of trees."""
    forest = {f"forest.{item.name}": getattr(members.forest, item.name) for item in fields(Forest)}
    return {"table": members.table, "bases": members.bases, **forest}


def _shown(number: float) -> float | str:
    # JSON has no infinity.
    return number if math.isfinite(number) else repr(number)


def load(directory: Path, *, digest: str | None = None, form: str | None = None) -> CompiledModel:
    """Return the model that ``save`` wrote; takes milliseconds.

    Parameters
    ----------
    digest
        Of the model that is to be served; the compiled form must have been made from it.
    form
        Digest of the compiled form itself (``form_digest``), as it was when it was verified; empty
        where that was not noted. What is loaded is what was checked: nothing is read twice.

    Raises
    ------
    ModelError
        There is none, it is damaged or was changed, is of another format or model, was verified
        with other versions of numpy, scipy, scikit-learn, LightGBM, XGBoost or CatBoost, or its
        kernel is for another processor.
    """
    if form == "":
        raise ModelError(
            "the compiled form was made by an earlier version", hint="Deploy the model again."
        )
    try:
        files = read_form(directory)
        if form is not None and (found := digest_of_form(files)) != form:
            raise ModelError(
                "the compiled form was changed after it was verified: its digest is "
                f"{found[:12]}, expected {form[:12]}",
                hint="Deploy the model again.",
            )
        description = json.loads(files[DESCRIPTION])
        if description["format_version"] != FORMAT_VERSION:
            raise ModelError(
                f"the compiled model has format {description['format_version']!r}, "
                f"this version reads {FORMAT_VERSION}",
                hint="Deploy the model again.",
            )
        if digest is not None and description["digest"] != digest:
            raise ModelError(
                f"the compiled model was made from {description['digest'][:12] or 'no model'}, "
                f"expected {digest[:12]}",
                hint="Deploy the model again.",
            )
        then, now = description["versions"], versions()
        if changed := changed_versions(then, {name: now.get(name) for name in then}):
            raise ModelError(
                f"the compiled form was verified with {changed}", hint="Deploy the model again."
            )
        portable = bool(description.get("portable"))
        if description["kernel"] != _kernel.key(portable=portable):
            raise ModelError(
                "the compiled form is for another processor or an earlier kernel",
                hint="Deploy the model again.",
            )
        kernel = _kernel.loaded(files[CODE])
        stored = np.load(io.BytesIO(files[ARRAYS]), allow_pickle=False)
        arrays = {name: stored[name] for name in stored.files}
        return _restored(description, arrays, kernel)
    except FileNotFoundError as error:
        raise ModelError(
            "there is no compiled model here", hint="Deploy the model again."
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError, OSError, zipfile.BadZipFile) as error:
        raise ModelError("the compiled model is damaged", hint="Deploy the model again.") from error


def _restored(
    description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], kernel: _kernel.Kernel
) -> CompiledModel:
    joined = description["join"]
    join: Voted | Stacked | Blended
    if joined["kind"] == "vote":
        join = Voted(arrays["join.weights"], joined["scale"])
    elif joined["kind"] == "blend":
        final = {
            name.removeprefix(_FINAL): values
            for name, values in arrays.items()
            if name.startswith(_FINAL)
        }
        read = Members(_read(Forest, "forest", final), final["table"], final["bases"])
        numbers, places = tuple(joined["numbers"]), range(len(description["classes"]))
        blend = CompiledModel(Encoding({}, numbers), read, Voted(np.ones(1), 1.0), places, kernel)
        join = Blended(blend)
    else:
        join = Stacked(
            arrays["join.coefficients"],
            arrays["join.intercept"],
            joined["low"],
            joined["high"],
            joined["by_column"],
            joined["odds"],
        )
    linear: dict[int, Linear | Product] = {}
    for place, row in enumerate(arrays["table"]):
        if row[0] == LINEAR:
            kind = Linear if f"linear.{place}.knots" in arrays else Product
            linear[place] = _read(kind, f"linear.{place}", arrays)
    prepared = "preparation.columns" in arrays
    encoding = Encoding(
        codes={
            name: Codes(
                codes["known"],
                float(codes["null"]),
                float(codes["unknown"]),
                *(None if codes[one] is None else float(codes[one]) for one in ("number", "nan")),
            )
            for name, codes in description["codes"].items()
        },
        numbers=tuple(description["numbers"]),
        low=float(description["clip"][0]),
        high=float(description["clip"][1]),
    )
    forest = _read(Forest, "forest", arrays)
    return CompiledModel(
        encoding,
        Members(
            forest,
            arrays["table"],
            arrays["bases"],
            linear,
            {
                int(place): Bounds(float(low), float(high))
                for place, (low, high) in description["logarithms"].items()
            },
        ),
        join,
        description["classes"],
        kernel,
        preparation=_read(Preparation, "preparation", arrays) if prepared else None,
        by_score=description["by_score"],
        threshold=description["threshold"],
        digest=description["digest"],
    )


def _read(kind: type[Any], name: str, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Return a dataclass whose fields are the arrays under a name."""
    return kind(**{item.name: arrays[f"{name}.{item.name}"] for item in fields(kind)})
