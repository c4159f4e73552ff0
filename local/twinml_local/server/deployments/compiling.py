"""Compiled forms of deployed models: made and verified once a model, when it is deployed.

::

    HOME/compiled/KEY/
    ├── outcome.json    whether there is a compiled form, and if not, why
    └── …               the compiled form, as ``twinml_local.compiled`` saves it

KEY is the model's digest, so that two models never share a form whatever they are called. What
came of it holds for one compiler, one processor and the libraries that it was verified with
(``compiler``): with others the model is compiled again. A refusal is kept in the same way.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
import warnings
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from azureml_runner.files import write_atomic
from azureml_runner.locks import locked
from twinml import __version__
from twinml.errors import ModelError, TwinmlError
from twinml.model import check_digest, load_contract, load_predictor
from twinml.settings import home
from twinml_local import compiled
from twinml_local.compiled import form_digest, made_with, save
from twinml_local.server.deployments._microbatching import same_in_batches

__all__ = ["Outcome", "compiled_form", "compiler", "own_compiler"]

OUTCOME = "outcome.json"
LOCK_SECONDS = 300.0


@dataclass(frozen=True)
class Outcome:
    """What came of compiling a model.

    Attributes
    ----------
    directory
        Where the compiled form is; empty when there is none.
    refusal
        Why there is none; empty when there is one.
    batches
        Whether the pipeline of a refused model may be asked in batches; see ``batching``.
    form
        Digest of the compiled form's own files; empty when there is none.
    made_with
        The ``compiler`` that this is the outcome of.
    made
        When; so that a form that is made anew is told from the one before, whose bits are the same.
    """

    directory: str = ""
    refusal: str = ""
    batches: bool = False
    form: str = ""
    made_with: str = ""
    made: str = ""


def compiled_form(model_directory: Path, digest: str) -> Outcome:
    """Return the compiled form of a model, compiling and verifying it if that was not done yet.

    Does not raise for a model that cannot be compiled: then the outcome says why, and the
    pipeline is what is left to serve.

    Parameters
    ----------
    model_directory
        A model directory that twinml saved.
    digest
        Of the model; nothing is loaded from files that are not its.

    Raises
    ------
    ModelError
        The files are not those of ``digest``, or the environment forbids to load a pipeline.
    Held
        Another process compiles the same model, for minutes.
    """
    check_digest(model_directory, digest)
    folder = home() / "compiled" / digest
    with locked(folder.with_suffix(".lock"), timeout=LOCK_SECONDS):
        known = _known(folder)
        if known is not None:
            return known
        # Beside the folder and moved at the end: whoever kills this leaves no half of a form.
        for left in folder.parent.glob(f".{digest}-*"):
            shutil.rmtree(left)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{digest}-"))
        try:
            made = datetime.now(UTC).isoformat()
            outcome = replace(
                _compile(model_directory, scratch, digest), made_with=compiler(), made=made
            )
            if not outcome.refusal:  # a refused form is kept as its reason alone
                outcome = replace(outcome, directory=str(folder), form=form_digest(scratch))
            write_atomic(scratch / OUTCOME, json.dumps(asdict(outcome), indent=2))
            shutil.rmtree(folder, ignore_errors=True)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return outcome


def _known(folder: Path) -> Outcome | None:
    try:
        known = Outcome(**json.loads((folder / OUTCOME).read_text(encoding="utf-8")))
        if known.made_with != compiler() or known.form != form_digest(folder):
            return None
        return replace(known, directory=str(folder) if known.directory else "")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def compiler() -> str:
    """Return what an outcome depends on besides the model: code, libraries and processor."""
    sources = sorted(Path(compiled.__path__[0]).glob("*.py"))
    sources.append(Path(__file__).with_name("_microbatching.py"))
    whole = hashlib.sha256(b"".join(path.read_bytes() for path in sources))
    return f"{__version__}-{whole.hexdigest()[:16]}-{made_with()}"


@functools.cache
def own_compiler() -> str:
    """Return the ``compiler`` of when this process, or its parent, first asked: what it runs."""
    return compiler()


def _compile(model_directory: Path, folder: Path, digest: str) -> Outcome:
    """Write the compiled form to ``folder``, or say why that cannot be."""
    from threadpoolctl import threadpool_limits

    from twinml_local.compiled import Refusal, compile_model, verify

    batches = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the learners' own, about versions
            scorer = load_predictor(model_directory, digest)
    except ModelError:
        raise  # changed meanwhile, or forbidden: that says nothing about the model
    except Exception as error:  # whatever unpickling a model may raise
        return Outcome(refusal=f"{type(error).__name__}: {error}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the learners' own, about versions and threads
            contract = load_contract(model_directory)
            try:
                if contract.task == "custom":
                    raise Refusal("the model has code of its own, which MLflow runs")
                form = compile_model(scorer.pipeline, contract, digest=digest)
                verify(form, scorer.pipeline, contract)
            except Exception:
                # The pipeline will serve; in one thread, as in a server.
                with threadpool_limits(1):
                    batches = same_in_batches(scorer, contract)
                raise
            save(form, folder)
    except Refusal as reason:
        return Outcome(refusal=str(reason), batches=batches)
    except TwinmlError as error:
        return Outcome(refusal=error.message, batches=batches)
    except Exception as error:  # whatever unpickling or compiling a model may raise
        return Outcome(refusal=f"{type(error).__name__}: {error}", batches=batches)
    return Outcome()
