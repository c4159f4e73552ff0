"""The contract itself: columns, target and classes, and their JSON form."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from twinml.contract._ability import refuse_custom
from twinml.contract._method import Method
from twinml.contract._words import listed
from twinml.contract.dates import DateForm
from twinml.contract.intervals import DEFAULT_LEVEL, PredictionIntervals
from twinml.contract.notation import PLAIN, Notation
from twinml.errors import DataError, ModelError

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

__all__ = [
    "ANSWER_TYPES",
    "COLUMN_TYPES",
    "AnswerType",
    "Column",
    "ColumnType",
    "Contract",
    "Label",
    "SignatureType",
]

ColumnType: TypeAlias = Literal["long", "double", "string", "boolean", "datetime", "text"]
# As MLflow's signature has them: dates are sent as text.
SignatureType: TypeAlias = Literal["long", "double", "string", "boolean"]
Label: TypeAlias = str | int | bool | float
# What a model with code of its own gives for a row; an object is any JSON.
AnswerType: TypeAlias = Literal["long", "double", "string", "boolean", "object"]

COLUMN_TYPES: tuple[ColumnType, ...] = (
    "long", "double", "string", "boolean", "datetime", "text",
)  # fmt: skip
ANSWER_TYPES: tuple[AnswerType, ...] = ("long", "double", "string", "boolean", "object")
# Contracts are written in the first version that can say them, so that an older twinml reads
# what it can. 2: columns of type long and boolean may be nullable. 3: numbers may be written in
# another notation than the plain one. 4: the task may be regression, columns may
# be of type datetime or text. 5: a notation may say how negative numbers are marked. 6: the
# task may be custom.
FORMAT_VERSION = 6


@dataclass(frozen=True)
class Column:
    """One feature column, with what the training rows showed of it.

    Attributes
    ----------
    name
        As in the training data.
    type
        ``long``, ``double``, ``string``, ``boolean`` or ``datetime``, as MLflow names types.
        Dates come as text. ``text`` is free text, of which words are learned.
    nullable
        Whether a request may hold null here: always but for long and
        boolean if the training rows had nulls.
    categories
        String columns: all values seen, sorted; ``None`` when there are more than 1,000.
    minimum, maximum
        Numeric columns: over the training rows; ``None`` when all of them are null. Of dates
        in seconds since 1970, in UTC.
    description
        Free text for the OpenAPI documents.
    notation
        Numeric columns: how the training file writes their numbers, and text in a request may.
    dates
        Of dates: how the training file writes them, and a request may, beside ISO 8601.
    """

    name: str
    type: ColumnType
    nullable: bool
    categories: tuple[str, ...] | None = None
    minimum: float | int | None = None
    maximum: float | int | None = None
    description: str = ""
    notation: Notation = PLAIN
    dates: DateForm | None = None

    def __post_init__(self) -> None:
        """Check what requests and documents rely on."""
        if not isinstance(self.name, str) or not self.name:
            raise DataError(
                f"a column is called {self.name!r}", hint="Give every column a name of text."
            )
        if self.type not in COLUMN_TYPES:
            raise DataError(
                f"column '{self.name}' has the type {self.type!r}",
                hint=f"Choose one of {', '.join(COLUMN_TYPES)}.",
            )
        if self.notation != PLAIN and self.type not in ("long", "double"):
            raise DataError(
                f"column '{self.name}' of type {self.type} has a notation of numbers",
                hint="Only long and double have one.",
            )
        if (self.dates is not None) != (self.type == "datetime"):
            raise DataError(
                f"column '{self.name}' of type {self.type} has the form of dates {self.dates!r}",
                hint="Columns of type datetime have one, and no others.",
            )
        for bound in (self.minimum, self.maximum):
            if bound is not None and not _is_finite_number(bound):
                raise DataError(
                    f"column '{self.name}' has the bound {bound!r}",
                    hint="Use finite numbers, or null.",
                )

    @property
    def mlflow_type(self) -> SignatureType:
        """The type in MLflow's signature, in which the model gets the values.

        Dates are text: JSON and CSV know nothing else, and the model reads them itself. Neither a
        long nor a boolean of MLflow holds null: where a column may, both are doubles, as MLflow
        advises, and null is nan.
        """
        if self.type == "datetime" or self.type == "text":
            return "string"
        return "double" if self.nullable and self.type in ("long", "boolean") else self.type


@dataclass(frozen=True)
class Contract:
    """What a model takes and gives.

    Attributes
    ----------
    name
        Of the data and model, for example ``bank-full``.
    columns
        Features, in training order.
    target
        Name of the label column.
    task
        ``binary``, ``multiclass`` or ``regression``; ``custom`` of a model that was imported with
        code of its own, whose answers are neither probabilities nor numbers to be judged.
    classes
        Labels in the order of ``predict_proba``'s columns; none of the two last tasks.
    samples
        Up to five rows as JSON objects, without the target; those that training writes are
        made of the columns' facts.
    n_rows
        Training rows.
    target_range
        Of a regression: the lowest and the highest value that the training rows showed.
    intervals
        Of a regression: what prediction intervals are made of, if they were measured.
    answer_type
        Of a custom task: what the model gives for a row.

    Raises
    ------
    DataError
        The parts do not fit together.

    Examples
    --------
    >>> contract = Contract(
    ...     name="bank", target="y", task="binary", classes=("no", "yes"), n_rows=2,
    ...     columns=(Column("age", "long", nullable=False, minimum=18, maximum=95),),
    ...     samples=({"age": 41},),
    ... )
    >>> contract.positive_class
    'yes'
    >>> Contract.from_json(contract.to_json()) == contract
    True
    """

    name: str
    columns: tuple[Column, ...]
    target: str
    task: Literal["binary", "multiclass", "regression", "custom"]
    classes: tuple[Label, ...]
    samples: tuple[dict[str, Any], ...]
    n_rows: int
    target_range: tuple[float, float] | None = None
    intervals: PredictionIntervals | None = None
    answer_type: AnswerType | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        names = [column.name for column in self.columns]
        if not names:
            raise DataError("the contract has no columns", hint="Keep at least one feature.")
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DataError(
                f"column {listed(sorted(twice))} appears more than once",
                hint="Rename the columns so that every name is unique.",
            )
        self._check_target()
        for number, sample in enumerate(self.samples):
            for name, value in sample.items():
                if not (
                    value is None or isinstance(value, (str, bool)) or _is_finite_number(value)
                ):
                    raise DataError(
                        f"sample row {number}, column {name!r} holds {value!r}",
                        hint="A sample row holds text, booleans, finite numbers and null.",
                    )
            if set(sample) != set(names):
                wrong = sorted(set(sample) ^ set(names))
                raise DataError(
                    f"sample row {number} and the columns differ in {wrong!r}",
                    hint="A sample row holds every feature and nothing else.",
                )

    def _check_target(self) -> None:
        if (self.answer_type in ANSWER_TYPES) != (self.task == "custom"):
            raise DataError(
                f"the task is {self.task!r} and its answers are of type {self.answer_type!r}",
                hint=f"A custom task says one of {', '.join(ANSWER_TYPES)}; others say none.",
            )
        if self.task in ("regression", "custom") and self.classes:
            raise DataError(
                f"a task of type {self.task} has the classes {list(self.classes)[:5]!r}",
                hint="Leave them out.",
            )
        if self.task == "regression":
            if self.target_range is None or not all(map(_is_finite_number, self.target_range)):
                raise DataError(
                    f"the range of the target is {self.target_range!r}",
                    hint="Give the lowest and the highest value, finite numbers.",
                )
            return
        if self.target_range is not None or self.intervals is not None:
            raise DataError(
                f"the task is {self.task!r} and its target has a range or intervals",
                hint="Only a regression's has.",
            )
        if self.task == "custom":
            return
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise DataError(
                f"the classes are {list(self.classes)[:5]!r}",
                hint="A classifier needs at least two different classes.",
            )
        for label in self.classes:
            if not isinstance(label, (str, int)) and not _is_finite_number(label):
                raise DataError(
                    f"a class is {label!r}", hint="Use text, integers, booleans or numbers."
                )
        expected = "binary" if len(self.classes) == 2 else "multiclass"
        if self.task != expected:
            raise DataError(
                f"the task is {self.task!r} with {len(self.classes)} classes",
                hint=f"With {len(self.classes)} classes the task is '{expected}'.",
            )

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """Feature names in training order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def column_types(self) -> tuple[SignatureType, ...]:
        """Types in MLflow's signature, in training order."""
        return tuple(column.mlflow_type for column in self.columns)

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """What a request may ask for, ``predict`` first."""
        if self.classes:
            return ("predict", "predict_proba")
        return ("predict", "predict_interval") if self.intervals is not None else ("predict",)

    def check_judged(self, verb: str) -> None:
        """Check that the answers are of a kind that ``verb`` understands.

        Raises
        ------
        UsageError
            They are those of a custom model.
        """
        refuse_custom(self.task == "custom", verb)

    @property
    def positive_class(self) -> Label | None:
        """The second of two classes; ``None`` when there are more."""
        return self.classes[1] if self.task == "binary" else None

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of the contract's canonical JSON."""
        return hashlib.sha256(_dump(self.to_dict(), compact=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the contract as plain JSON values, ``format_version`` included."""
        number: dict[str, Any] = {}
        if self.target_range is not None:
            number["target_range"] = list(self.target_range)
        if self.intervals is not None:
            number["intervals"] = self.intervals.to_dict()
        if self.answer_type is not None:
            number["answer_type"] = self.answer_type
        if self.task == "custom":
            lowest = 6
        elif any(column.notation.negative for column in self.columns):
            lowest = 5
        elif self.task == "regression" or any(
            column.type in ("datetime", "text") for column in self.columns
        ):
            lowest = 4
        elif any(column.notation != PLAIN for column in self.columns):
            lowest = 3
        else:
            lowest = 1 + any(column.type != column.mlflow_type for column in self.columns)
        return {
            "format_version": lowest,
            "name": self.name,
            "task": self.task,
            "target": self.target,
            "classes": list(self.classes),
            "n_rows": self.n_rows,
            "columns": [_entry(column) for column in self.columns],
            "samples": [dict(sample) for sample in self.samples],
            **number,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Contract:
        """Read what :meth:`to_dict` wrote.

        Raises
        ------
        ModelError
            It is not a contract, or was written by a newer version.
        """
        if not isinstance(document, Mapping):
            raise ModelError(
                f"the contract is a {type(document).__name__}, not a JSON object",
                hint="Save the model again.",
            )
        version = document.get("format_version")
        if type(version) is not int or version < 1:
            raise ModelError(
                f"the contract's format_version is {version!r}", hint="Save the model again."
            )
        if version > FORMAT_VERSION:
            raise ModelError(
                f"the contract has format_version {version}; this twinml reads up to "
                f"{FORMAT_VERSION}",
                hint="Update twinml, or save the model again with this version.",
            )
        try:
            return cls(
                name=_text(document, "name"),
                task=document["task"],
                target=_text(document, "target"),
                classes=tuple(document["classes"]),
                n_rows=_count(document, "n_rows"),
                columns=tuple(_column(entry) for entry in document["columns"]),
                samples=tuple(dict(sample) for sample in document["samples"]),
                target_range=_range(document.get("target_range")),
                answer_type=document.get("answer_type"),
                intervals=(
                    PredictionIntervals.from_dict(document["intervals"])
                    if "intervals" in document
                    else None
                ),
            )
        except KeyError as error:
            raise ModelError(
                f"the contract has no {error.args[0]!r}", hint="Save the model again."
            ) from None
        except (TypeError, ValueError, DataError) as error:
            raise ModelError(
                f"the contract cannot be read: {error}", hint="Save the model again."
            ) from error

    def to_json(self) -> str:
        """Return the contract as indented JSON; equal contracts give equal text."""
        return _dump(self.to_dict(), compact=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Contract:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ModelError
            It is not JSON, not a contract, or was written by a newer version.
        """
        try:
            document = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f"the contract is not JSON: {error}", hint="Save the model again."
            ) from error
        return cls.from_dict(document)

    def signature(self) -> ModelSignature:
        """Return the MLflow signature: these columns in, one label or number out.

        Its parameter is ``method``, ``predict`` by default; intervals have a ``level`` too.
        """
        from mlflow.models import ModelSignature
        from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

        by_class = {str: "string", bool: "boolean", int: "long", float: "double"}
        output = by_class[type(self.classes[0])] if self.classes else self.answer_type or "double"
        params = [ParamSpec("method", DataType.string, "predict")]
        if self.intervals is not None:
            params.append(ParamSpec("level", DataType.double, DEFAULT_LEVEL))
        return ModelSignature(
            inputs=Schema(
                [ColSpec(DataType[column.mlflow_type], column.name) for column in self.columns]
            ),
            outputs=None if output == "object" else Schema([ColSpec(DataType[output])]),
            params=ParamSchema(params),
        )


def _is_finite_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _dump(document: Any, *, compact: bool) -> str:
    if compact:
        return json.dumps(
            document, allow_nan=False, ensure_ascii=False, sort_keys=True, separators=(",", ":")
        )
    return json.dumps(document, allow_nan=False, ensure_ascii=False, indent=2)


def _refuse_constant(token: str) -> Any:
    raise ValueError(f"it holds {token}")


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        raise TypeError(f"{key!r} is {value!r}, expected text")
    return value


def _count(document: Mapping[str, Any], key: str) -> int:
    value = document[key]
    if type(value) is not int or value < 0:
        raise TypeError(f"{key!r} is {value!r}, expected a count")
    return value


def _range(values: Any) -> tuple[float, float] | None:
    if values is None:
        return None
    low, high = values
    return float(low), float(high)


def _entry(column: Column) -> dict[str, Any]:
    """Return a column as JSON values, without what older versions do not know and need not."""
    entry = asdict(column)
    entry["categories"] = None if column.categories is None else list(column.categories)
    if column.notation == PLAIN:
        del entry["notation"]
    else:
        entry["notation"] = column.notation.to_dict()
    if column.dates is None:
        del entry["dates"]
    return entry


def _column(entry: Mapping[str, Any]) -> Column:
    categories = entry["categories"]
    if categories is not None and not all(isinstance(value, str) for value in categories):
        raise TypeError(f"the categories of {entry['name']!r} are not all text")
    if not isinstance(entry["nullable"], bool):
        raise TypeError(f"'nullable' of {entry['name']!r} is {entry['nullable']!r}")
    return Column(
        name=entry["name"],
        type=entry["type"],
        nullable=entry["nullable"],
        categories=None if categories is None else tuple(categories),
        minimum=entry["minimum"],
        maximum=entry["maximum"],
        description=_text(entry, "description"),
        notation=Notation(**entry.get("notation", {})),
        dates=DateForm(**entry["dates"]) if "dates" in entry else None,
    )
