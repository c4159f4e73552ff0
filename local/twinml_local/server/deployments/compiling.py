"""Compiled forms of deployed models: made and verified once a model, when it is deployed.

::

    HOME/compiled/KEY/
    ├── outcome.json    whether there is a compiled form, and if not, why
    └── …               the compiled form, as ``twinml_local.compiled`` saves it

KEY is a digest of the model's pipeline and contract, so that two models never share a form
whatever they are called. A refusal is kept too: deploying the model again does not try again,
but a new version of the compiler does.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from azureml_runner.files import write_atomic
from azureml_runner.locks import locked
from twinml import __version__
from twinml.errors import TwinmlError
from twinml.settings import home
from twinml_local.server.deployments._microbatching import same_in_batches

__all__ = ["Outcome", "compiled_form", "form_key"]

OUTCOME = "outcome.json"
LOCK_SECONDS = 300.0
KEPT = ("data/pipeline.pkl", "contract.json")


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
    """

    directory: str = ""
    refusal: str = ""
    batches: bool = False


def form_key(model_directory: Path) -> str:
    """Return the digest that a model's compiled form goes by; empty for a model not of ours."""
    whole = hashlib.sha256()
    for name in KEPT:
        try:
            whole.update(hashlib.sha256((model_directory / name).read_bytes()).digest())
        except OSError:
            return ""
    return whole.hexdigest()


def compiled_form(model_directory: Path) -> Outcome:
    """Return the compiled form of a model, compiling and verifying it if that was not done yet.

    Never raises for a model that cannot be compiled or even loaded: then the outcome says
    why, and the pipeline is what is left to serve, or to fail.

    Parameters
    ----------
    model_directory
        A model directory that twinml saved.
    """
    key = form_key(model_directory)
    if not key:
        return Outcome(refusal="it is no model that twinml saved")
    folder = home() / "compiled" / key
    with locked(home() / "compiled" / ".lock", timeout=LOCK_SECONDS):
        known = _known(folder)
        if known is not None:
            return known
        # Beside the folder and moved at the end: whoever kills this leaves no half of a form.
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".compiling-"))
        try:
            outcome = _compile(model_directory, scratch, key)
            if not outcome.refusal:  # a refused form is kept as its reason alone
                outcome = Outcome(str(folder))
            written = {"version": _compiler(), **asdict(outcome)}
            write_atomic(scratch / OUTCOME, json.dumps(written, indent=2))
            shutil.rmtree(folder, ignore_errors=True)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return outcome


def _known(folder: Path) -> Outcome | None:
    try:
        shape = json.loads((folder / OUTCOME).read_text(encoding="utf-8"))
        if shape["version"] != _compiler():
            return None
        place = str(folder) if shape["directory"] else ""
        return Outcome(place, shape["refusal"], shape["batches"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _compiler() -> str:
    """Return what an outcome depends on besides the model."""
    from twinml_local import compiled

    sources = sorted(Path(compiled.__path__[0]).glob("*.py"))
    sources.append(Path(__file__).with_name("_microbatching.py"))
    whole = hashlib.sha256(b"".join(path.read_bytes() for path in sources))
    return f"{__version__}-{whole.hexdigest()[:16]}"


def _compile(model_directory: Path, folder: Path, key: str) -> Outcome:
    """Write the compiled form to ``folder``, or say why that cannot be."""
    from threadpoolctl import threadpool_limits

    from twinml.model import load_contract, load_predictor
    from twinml_local.compiled import Refusal, compile_model, verify

    batches = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the learners' own, about versions and threads
            contract = load_contract(model_directory)
            scorer = load_predictor(model_directory)
            try:
                compiled = compile_model(scorer.pipeline, contract, digest=key)
                verify(compiled, scorer.pipeline, contract)
            except Exception:
                # The pipeline will serve; in one thread, as in a server.
                with threadpool_limits(1):
                    batches = same_in_batches(scorer, contract)
                raise
            compiled.save(folder)
    except Refusal as reason:
        return Outcome(refusal=str(reason), batches=batches)
    except TwinmlError as error:
        return Outcome(refusal=error.message, batches=batches)
    except Exception as error:  # whatever unpickling or compiling a model may raise
        return Outcome(refusal=f"{type(error).__name__}: {error}", batches=batches)
    return Outcome()
