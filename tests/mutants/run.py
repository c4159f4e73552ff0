"""Change the decision rules line by line and see whether their tests notice: ``make mutants``.

``rules.toml`` says which functions are changed and which tests belong to them, and
``survivors.toml`` which changes no test can notice, each with its reason. mutmut makes the
changes and runs the tests, in a copy of the packages: the checkout stays as it is.

    python tests/mutants/run.py            all rules
    python tests/mutants/run.py drift      those of modules or functions with "drift" in the name

Ends with 1 if a change survives that is not accepted, or an accepted one does not survive.
"""

from __future__ import annotations

import ast
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MUTMUT = Path(sys.executable).with_name("mutmut")
# A machine under load is slow: only what hangs is to be cut off.
SETTINGS: Mapping[str, Any] = {
    "source_paths": ["src"],
    "timeout_constant": 5.0,
    "do_not_mutate_patterns": [r"^\s*raise \w"],  # the words of an error are no rule
}
KILLED = {"killed", "timeout", "segfault"}


@dataclass(frozen=True)
class Rule:
    """A function that is changed: its module and its name there, ``Class.method`` for a method."""

    module: str
    name: str
    path: Path

    @property
    def pattern(self) -> str:
        """What mutmut calls the changes of it."""
        owner, _, method = self.name.rpartition(".")
        mangled = f"xǁ{owner}ǁ{method}" if owner else f"x_{method}"
        return f"{self.module}.{mangled}__mutmut_*"

    @property
    def staged(self) -> Path:
        """Where its file is in a staged checkout."""
        return Path("src", *self.module.split(".")).with_suffix(".py")

    def place(self, source: str, line: str) -> str:
        """Return file and line of ``line``, stripped, of the function in ``source``."""
        node: Any = ast.parse(source)
        for part in self.name.split("."):
            node = next(each for each in node.body if getattr(each, "name", None) == part)
        lines = [each.strip() for each in source.splitlines()[: node.end_lineno]]
        return f"{self.path}:{lines.index(line, node.lineno - 1) + 1}"


@dataclass(frozen=True)
class Survivor:
    """A change that no test noticed; ``was`` and ``now`` are the lines that differ, stripped."""

    rule: Rule
    place: str
    status: str
    was: tuple[str, ...]
    now: tuple[str, ...]

    @property
    def key(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """What an entry of ``survivors.toml`` names it by."""
        return f"{self.rule.module}.{self.rule.name}", self.was, self.now


def packages() -> dict[str, Path]:
    """Return the folder of each package, relative to the checkout, by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return {Path(folder).name: Path(folder) for folder in folders}


def read_rules(wanted: str) -> tuple[list[Rule], list[str]]:
    """Return the rules with ``wanted`` in their name, and the tests that belong to them."""
    folders = packages()
    rules: list[Rule] = []
    tests: list[str] = []
    for entry in tomllib.loads((HERE / "rules.toml").read_text(encoding="utf-8"))["rules"]:
        module = entry["module"]
        package, _, rest = module.partition(".")
        path = folders[package] / f"{rest.replace('.', '/')}.py"
        found = [
            Rule(module, name, path) for name in entry["functions"] if wanted in f"{module}.{name}"
        ]
        if found:
            rules += found
            tests += [name for name in entry["tests"] if name not in tests]
    if not rules:
        sys.exit(f"no rule in {HERE / 'rules.toml'} has '{wanted}' in its name")
    return rules, tests


def stage(folder: Path, rules: Sequence[Rule], tests: Sequence[str]) -> None:
    """Lay down a checkout as mutmut wants it: packages in ``src``, tests, settings."""
    unwanted = shutil.ignore_patterns("__pycache__")
    for name, place in packages().items():
        shutil.copytree(ROOT / place, folder / "src" / name, ignore=unwanted)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=unwanted)
    shutil.copytree(ROOT / "data", folder / "data", ignore=unwanted)
    changed = {str(rule.staged) for rule in rules}
    settings = {
        **SETTINGS,
        "only_mutate": sorted(changed),
        "also_copy": ["data"],
        "pytest_add_cli_args_test_selection": list(tests),
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-p", "pytest_timeout"],
    }
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8") + "\n[tool.mutmut]\n"
    text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


def call(folder: Path, *arguments: str, shown: bool = False) -> str:
    """Run mutmut in a staged checkout and return what it prints."""
    # Each change is tested in a fork, which the threads of BLAS and OpenMP would not survive.
    variables = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    # To load plugins takes longer than most of the tests.
    variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    done = subprocess.run(
        [MUTMUT, *arguments],
        cwd=folder,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"mutmut {' '.join(arguments[:1])} failed:\n{done.stdout[-20_000:]}")
    return done.stdout


def statuses(folder: Path) -> dict[str, str]:
    """Return how each change ended, by mutmut's name of it."""
    lines = call(folder, "results", "--all", "true").splitlines()
    pairs = (line.strip().rpartition(": ") for line in lines if "__mutmut_" in line)
    return {name: status for name, _, status in pairs}


def survivor(folder: Path, rule: Rule, name: str, status: str) -> Survivor:
    """Return a change that was not noticed, with the lines that differ."""
    lines = call(folder, "show", name).splitlines()
    changed = [line for line in lines if not line.startswith(("---", "+++", "#"))]
    was = tuple(line[1:].strip() for line in changed if line.startswith("-"))
    now = tuple(line[1:].strip() for line in changed if line.startswith("+"))
    source = (folder / rule.staged).read_text(encoding="utf-8")
    return Survivor(rule, rule.place(source, was[0]), status, was, now)


def run(wanted: str) -> int:
    """Change the rules with ``wanted`` in their name; return the exit code."""
    rules, tests = read_rules(wanted)
    began = time.monotonic()
    accepted = {}
    for entry in tomllib.loads((HERE / "survivors.toml").read_text(encoding="utf-8"))["survivors"]:
        lines = [tuple(line.strip() for line in entry[key].splitlines()) for key in ("was", "now")]
        accepted[entry["function"], lines[0], lines[1]] = entry["reason"]
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        stage(folder, rules, tests)
        call(folder, "run", *(rule.pattern for rule in rules))
        found = statuses(folder)
        of_rule = {rule: fnmatch.filter(found, rule.pattern) for rule in rules}
        for rule, names in of_rule.items():
            if not names:
                sys.exit(
                    f"{rule.path} has no function '{rule.name}' in which mutmut changes a line"
                )
        left = [
            survivor(folder, rule, name, found[name])
            for rule, names in of_rule.items()
            for name in names
            if found[name] not in KILLED
        ]
    for module in dict.fromkeys(rule.module for rule in rules):
        counts = Counter(
            found[name] in KILLED
            for rule, names in of_rule.items()
            if rule.module == module
            for name in names
        )
        print(f"{counts[True]:>5} of {counts.total():>4} killed  {module}")
    unknown = [one for one in left if one.key not in accepted]
    for one in left:
        reason = accepted.get(one.key, f"NOT ACCEPTED ({one.status})")
        print(f"\n{one.place}  {one.rule.name}: {reason}")
        print("\n".join([f"  - {line}" for line in one.was] + [f"  + {line}" for line in one.now]))
    names = {f"{rule.module}.{rule.name}" for rule in rules}
    gone = [key for key in accepted if key[0] in names and key not in {one.key for one in left}]
    for function, was, now in gone:
        print(f"\nsurvivors.toml: in {function} this does not survive, or is not made any longer:")
        print("\n".join([f"  - {line}" for line in was] + [f"  + {line}" for line in now]))
    total = sum(map(len, of_rule.values()))
    killed = total - len(left)
    print(
        f"\n{killed} of {total} changes killed, {killed / total:.1%}; {len(left)} survive, "
        f"{len(left) - len(unknown)} of them accepted; {time.monotonic() - began:.0f} s"
    )
    return 1 if unknown or gone else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1] if len(sys.argv) > 1 else ""))
