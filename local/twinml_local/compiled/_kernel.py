"""The kernel as machine code: translated by numba once, loaded with llvmlite alone.

Importing numba takes about a second and 100 MB, so a server does not do it: deploying
translates the kernel, which is the same for every model, into an object file, and a server
links that file into its process in a few milliseconds.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from twinml.errors import ModelError

__all__ = ["Functions", "Kernel", "built", "key", "loaded", "sealed"]

_SOURCES = (
    "_source_trees.py", "_source_ranks.py", "_source_joins.py", "_source_columns.py",
    "_source_types.py", "_layout.py",
)  # fmt: skip
_SEAL = hashlib.sha256().digest_size

# What processors of an architecture have at least, in LLVM's words, and what of it to look for in
# one: portable code runs on all of these. x86-64-v3 is Intel since 2013 and AMD since 2015.
_BASELINES: dict[str, tuple[str, frozenset[str]]] = {
    "x86_64": ("x86-64-v3", frozenset({"avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"})),
    "aarch64": ("generic", frozenset()),
    "arm64": ("generic", frozenset()),
}

_P, _I, _D = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double

_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "trees": (*[_P] * 10, _I, _P, _P, _I, _P, _P, _P, *[_I] * 5, _D, _D, _I, *[_P] * 6),
    "linear": (
        *(_P, _I, _D, _D, _P, _I, _P, _P, _P, _I, _P, _P, _P, _P, _P, _I),
        *(_P, _I, _I, _P, _P, _I, _P, _I, _I, _P, _I, _I),
    ),
    "vote": (_P, _I, _I, _I, _P, _D, _P),
    "log_odds": (_P, _I, _I, _I, _D, _D, _P, _I, _I),
    "sparse": (_P, _I, _I, _I, _P, _I, _P),
    "sigmoid": (_P, _I, _P),
    "prepare": (_P, _I, _I, _P, _P, _I, _P, _P, _I, _P, _P, _P, _P, _P),
    "trees_of": (_P,),
}
_LLVM_TYPES = {_P: "ptr", _I: "i64", _D: "double"}


@dataclass(frozen=True)
class Functions:
    """Functions of the kernel; arguments are addresses and numbers.

    Each takes what its namesake in a ``_source`` module takes and returns
    nothing. They hold no state and do not check anything. ``trees_of`` takes the address of
    what ``trees`` takes, eight bytes each: to hand over so many takes longer than one row.
    """

    trees: Callable[..., None]
    linear: Callable[..., None]
    vote: Callable[..., None]
    log_odds: Callable[..., None]
    sparse: Callable[..., None]
    sigmoid: Callable[..., None]
    prepare: Callable[..., None]
    trees_of: Callable[[int], None]


class Kernel:
    """The kernel in this process.

    Attributes
    ----------
    code
        The object file.
    releasing
        Functions that release the interpreter's lock while they run.
    holding
        The same, holding it: a thread that releases the lock for the time of one row has to
        wait for it again afterwards, and to be woken for it.
    """

    def __init__(self, code: bytes) -> None:
        self.code = code
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
        self._result = ctypes.create_string_buffer(16)
        self._result_address = ctypes.addressof(self._result)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self.releasing = self._functions(ctypes.CFUNCTYPE)
        self.holding = self._functions(ctypes.PYFUNCTYPE)

    def _functions(self, prototype: Callable[..., Any]) -> Functions:
        found: dict[str, Callable[..., None]] = {}
        for name, arguments in _ARGUMENTS.items():
            address = self._engine.get_function_address(f"twinml_{name}")
            # numba's functions write their result and their exception, of which these have
            # neither, to the first two addresses.
            function = prototype(ctypes.c_int32, _P, _P, *arguments)(address)
            found[name] = partial(function, self._result_address, self._result_address)
        return Functions(**found)


def _machine(*, portable: bool = False) -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = _processor(portable)
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu,
        features=features,
        opt=3,
        codemodel="jitdefault",
        jit=True,
    )


def _processor(portable: bool) -> tuple[str, str]:
    """Return the processor that code is for, and its features, as LLVM names them.

    Raises
    ------
    ModelError
        It is to be portable, and this one is of another architecture or lacks something.
    """
    if not portable:
        return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    architecture = llvm.get_default_triple().partition("-")[0]
    if architecture not in _BASELINES:
        raise ModelError(
            f"there is no portable code for processors of the architecture {architecture}",
            hint=f"Use a machine of {', '.join(_BASELINES)}.",
        )
    baseline, needed = _BASELINES[architecture]
    lacking = sorted(needed - {name for name, has in llvm.get_host_cpu_features().items() if has})
    if lacking:
        raise ModelError(
            f"this processor lacks {', '.join(lacking)}, which portable code may use",
            hint=f"Take a machine whose processor is {baseline}.",
        )
    return baseline, ""


@cache
def key(*, portable: bool = False) -> str:
    """Return what machine code depends on: the kernel's source, LLVM and the processor."""
    here = Path(__file__).parent
    parts = [
        *((here / name).read_text(encoding="utf-8") for name in _SOURCES),
        _of_memory("trees", "trees_of"),
        version("llvmlite"),
        llvm.get_default_triple(),
        *_processor(portable),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def sealed(kernel: Kernel) -> bytes:
    """Return what a file of the kernel holds: a checksum, for half a file would crash LLVM."""
    return hashlib.sha256(kernel.code).digest() + kernel.code


@cache
def loaded(content: bytes) -> Kernel:
    """Return the kernel from what its file holds, one a process.

    Raises
    ------
    ModelError
        The file is damaged.
    """
    seal, code = content[:_SEAL], content[_SEAL:]
    if hashlib.sha256(code).digest() != seal:
        raise ModelError("the compiled kernel is damaged", hint="Deploy the model again.")
    return Kernel(code)


def built(directory: Path, *, portable: bool = False) -> Kernel:
    """Return the kernel, from ``directory`` or translated and kept there.

    Translating takes some seconds and imports numba. A portable one runs on all usual processors
    of this architecture, with the same bits.
    """
    path = directory / f"kernel-{key(portable=portable)[:16]}.o"
    try:
        return loaded(path.read_bytes())
    except (FileNotFoundError, ModelError):
        pass
    kernel = _translated(portable=portable)
    directory.mkdir(parents=True, exist_ok=True)
    # Others may be doing the same: the last one wins, and nobody reads half a file.
    handle, name = tempfile.mkstemp(dir=directory)
    with os.fdopen(handle, "wb") as stream:
        stream.write(sealed(kernel))
    Path(name).replace(path)
    return kernel


@cache
def _translated(*, portable: bool) -> Kernel:
    machine = _machine(portable=portable)
    whole = llvm.parse_assembly(_linked())
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(whole, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(3)))
    return Kernel(bytes(machine.emit_object(whole)))


@cache
def _linked() -> str:
    """Return all functions in LLVM's language, translated from Python."""
    # Here because this is what a server must not import.
    from twinml_local.compiled import _source_columns, _source_joins, _source_trees

    whole = llvm.parse_assembly("")
    kernels = _source_trees.KERNELS | _source_joins.KERNELS | _source_columns.KERNELS
    for name, translated in kernels.items():
        module = llvm.parse_assembly(translated().inspect_llvm())
        for function in module.functions:
            if function.is_declaration:
                continue
            if function.name.startswith("cfunc."):
                # numba's wrapper for C, which would need the rest of numba.
                function.linkage = "internal"
            elif f"_{name}B" in function.name:
                function.name = f"twinml_{name}"
        whole.link_in(module)
    whole.link_in(llvm.parse_assembly(_of_memory("trees", "trees_of")))
    return str(whole)


def _of_memory(name: str, of_memory: str) -> str:
    """Return a function in LLVM's language that reads what ``name`` takes from memory."""
    kinds = [_LLVM_TYPES[kind] for kind in _ARGUMENTS[name]]
    arguments = ", ".join(["ptr", "ptr", *kinds])
    lines = [
        f"declare i32 @twinml_{name}({arguments})",
        f"define i32 @twinml_{of_memory}(ptr %result, ptr %exception, ptr %given) {{",
    ]
    for place, kind in enumerate(kinds):
        lines.append(f"%at{place} = getelementptr i64, ptr %given, i64 {place}")
        lines.append(f"%value{place} = load {kind}, ptr %at{place}")
    values = ", ".join(f"{kind} %value{place}" for place, kind in enumerate(kinds))
    lines.append(
        f"%status = call i32 @twinml_{name}(ptr %result, ptr %exception, {values})\n"
        "ret i32 %status\n}"
    )
    return "\n".join(lines)
