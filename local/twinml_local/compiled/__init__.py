"""Compiled scoring: a fitted pipeline as flat arrays, walked by a native kernel.

The answers are the pipeline's to the last bit, labels and probabilities, in microseconds and
without pandas, scikit-learn or the libraries that trained it. What has no compiled form is
refused, and what the compiled form does not take it says so about: then the pipeline answers.

Deploying, once a model (imports scikit-learn, the learners and numba; takes seconds)::

    try:
        compiled = compile_model(pipeline, contract, digest=digest)
        verify(compiled, pipeline, contract, training_rows)   # or without rows
        save(compiled, folder)
    except Refusal as reason:
        ...                                    # logged; the pipeline serves

A server, when it starts (imports numpy and llvmlite; takes milliseconds)::

    compiled = load(folder, digest=digest)     # ModelError: the pipeline serves

and for every request::

    try:
        labels, probabilities = compiled.predict_columns(request.columns, request.n_rows)
    except NotCovered:
        ...                                    # load the pipeline, if not yet, and ask it

``labels`` and ``probabilities`` go to ``twinml.contract.render`` as they are. Calls release
the interpreter's lock, hold no state and may come from several threads.

What is equal to what: sums are taken in the order and precision of each library, with the
same functions of the C library. The few products that BLAS makes (a stack's blend, a dense
linear member) and numpy's exponential function are called as the pipeline calls them, on
arrays of the same shape and layout, because their last bit depends on the size of the batch;
so a request is to be scored in one call, as the pipeline would, and not in pieces.

``folder`` holds ``compiled.npz``, ``compiled.json`` and ``kernel.o``, the kernel's machine
code for this processor. On another processor ``load`` translates it anew, which imports numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinml_local.compiled._errors import NotCovered, Refusal
from twinml_local.compiled._model import CompiledModel
from twinml_local.compiled._origin import form_digest, made_with
from twinml_local.compiled._stored import load, save

if TYPE_CHECKING:
    from twinml_local.compiled._compile import compile_model
    from twinml_local.compiled._probes import random_columns
    from twinml_local.compiled._verify import Verification, verify

__all__ = [
    "CompiledModel",
    "NotCovered",
    "Refusal",
    "Verification",
    "compile_model",
    "form_digest",
    "load",
    "made_with",
    "random_columns",
    "save",
    "verify",
]


def __getattr__(name: str) -> Any:
    # What a server must not import waits until it is asked for.
    if name == "compile_model":
        from twinml_local.compiled._compile import compile_model

        return compile_model
    if name == "random_columns":
        from twinml_local.compiled._probes import random_columns

        return random_columns
    if name in ("Verification", "verify"):
        from twinml_local.compiled import _verify

        return getattr(_verify, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
