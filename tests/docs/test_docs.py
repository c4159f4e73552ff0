"""The documents say what is there, and all of it."""

from __future__ import annotations

import ast
import functools
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import griffe
import pytest
from click.testing import CliRunner

from azureml_emulator.__main__ import main as emulator
from azureml_emulator.faults.__main__ import main as faults
from twinml import __version__
from twinml.cli import VERBS, main
from twinml_local.jobs._store import JobStore
from twinml_local.jobs.rest.app import create_app as pipeline_service
from twinml_local.server import ServerSettings, Serving
from twinml_local.server._app import app_of
from twinml_local.server.scoring.front import METHODS, PATHS
from twinml_local.server.scoring.service import ScoringService
from twinml_local.telemetry._exposition import blueprint as metrics

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MARKDOWN = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "data").glob("*.md")])
PACKAGES = {"twinml": "shared", "twinml_local": "local", "azureml_emulator": "local"} | {
    "twinml_azure": "azure"
}
FOLDERS = ("tests", "docs", "shared", "local", "azure", "data", "requirements")
# Of other programs, named where a guide shows how to use them.
FOREIGN_FLAGS = {"--set", "--strict"}
# Look like names in Python: tags, and a group of entry points.
NO_MODULES = {
    "twinml.check.INPUT",
    "twinml.max_retries",
    "twinml.platforms",
    "twinml.title.champion",
}
# Look like headers.
NO_HEADERS = {
    "azureml-mlflow",
    "azureml-inference-server-http",
    "azureml-ai-monitoring",
    "azureml-train-automl-runtime",
}
# In the archive that UCI publishes.
NO_FILES = {"data/bank-additional-full.csv"}

each_document = pytest.mark.parametrize(
    "path", MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix()
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, *languages: str) -> Iterator[str]:
    """Yield the fenced blocks of ``text`` in one of the languages."""
    for indent, language, body in re.findall(
        r"^( *)```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL
    ):
        if language in languages:
            yield re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)


def inline(text: str) -> list[str]:
    """Return what stands between single backticks, outside of blocks."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", prose)]


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of every ``twinml`` command in shell blocks."""
    between = "|&;<>()\n"
    for block in blocks(text, "sh", "bash"):
        plain = re.sub(r"(?:^|(?<=\s))#.*", "", block.replace("\\\n", " "), flags=re.MULTILINE)
        lexer = shlex.shlex(plain, posix=True, punctuation_chars=between)
        lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
        words: list[str] = []
        for word in [*lexer, "\n"]:
            if set(word) <= set(between):
                if words and Path(words[0]).name == "twinml":
                    yield words[1:]
                words = []
            else:
                words.append(word)


def parse(words: list[str]) -> None:
    """Read a command line as ``twinml`` would, but for whether the files are there."""
    command: click.Command = main
    context = click.Context(main, info_name="twinml")
    while isinstance(command, click.Group):
        while words and words[0].startswith("-"):
            words = words[1:]
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"there is no verb {name}"
        command, context = found, click.Context(found, parent=context, info_name=name)
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    assert rest == [] or any(param.nargs == -1 for param in command.params), rest
    for param in command.params:
        value = values.get(param.name)
        given = isinstance(value, (str, int, list, tuple)) and value not in ([], ())
        assert given or not param.required, f"{context.command_path} needs {param.name}"
        if given and not isinstance(param.type, (click.Path, click.File)):
            value = param.type_cast_value(context, value)
            if param.callback is not None:
                param.callback(context, param, value)


def options(command: click.Command) -> set[str]:
    """Return the flags of a command and its own commands."""
    found = {
        flag
        for param in command.params
        if isinstance(param, click.Option)
        for flag in (*param.opts, *param.secondary_opts)
    }
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            found |= options(inner)
    return found | {"--help", "-h", "--version"}


@functools.cache
def sources() -> str:
    """Return all that is ours and runs, as one text."""
    return "\n".join(
        path.read_text(encoding="utf-8")
        for package, folder in PACKAGES.items()
        for path in sorted((ROOT / folder / package).rglob("*"))
        if path.suffix in (".py", ".yml", ".j2", ".html")
    )


# Verbs ------------------------------------------------------------------------------------------


def documented_verbs() -> list[str]:
    return re.findall(r"^\| `([a-z -]+)` \|", read("docs/verbs.md"), re.MULTILINE)


def test_the_page_of_verbs_has_each_of_them_once_and_no_other() -> None:
    group = main.get_command(click.Context(main), "pipeline")
    assert isinstance(group, click.Group)
    inner = [f"pipeline {name}" for name in group.list_commands(click.Context(group))]
    assert sorted(documented_verbs()) == sorted([*VERBS, *inner])


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    shown = CliRunner().invoke(main, [verb, "--help"])
    assert shown.exit_code == 0, shown.output
    assert "Usage:" in shown.output


def test_the_help_page_lists_every_verb_without_importing_it() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    assert all(re.search(rf"^  {verb} ", shown, re.MULTILINE) for verb in VERBS)


def test_every_verb_but_the_named_one_prints_json() -> None:
    without = []
    for verb in VERBS:
        command = main.get_command(click.Context(main), verb)
        assert command is not None
        if "--json" not in options(command):
            without.append(verb)
    assert without == ["ui"]
    assert "Every verb but `ui` has `--json`" in read("docs/verbs.md")


@each_document
def test_command_lines_in_blocks_can_be_read(path: Path) -> None:
    for words in command_lines(path.read_text(encoding="utf-8")):
        try:
            parse(words)
        except click.ClickException as error:
            pytest.fail(f"twinml {shlex.join(words)}: {error.format_message()}")


@pytest.mark.parametrize(
    "line",
    ["nothing", "score --nothing", "collect --rate much", "deploy --name green", "drift --last 7w"],
)
def test_a_command_line_that_cannot_be_read_is_found(line: str) -> None:
    with pytest.raises((click.ClickException, AssertionError)):
        parse(line.split())


@functools.cache
def flags_of_the_code() -> set[str]:
    known = options(main) | options(emulator) | options(faults) | FOREIGN_FLAGS
    scripts = (ROOT / "tests" / "benchmarks").glob("*.py")
    for code in (sources(), *(script.read_text(encoding="utf-8") for script in scripts)):
        known |= set(re.findall(r'"(--[a-z-]+)"', code))
    return known


@each_document
def test_verbs_and_flags_in_prose_exist(path: Path) -> None:
    known = flags_of_the_code()
    for code in inline(path.read_text(encoding="utf-8")):
        named = re.match(r"(?:\.venv/bin/)?twinml ([a-z]+)(?: (.*))?$", code)
        if named is not None:
            assert named[1] in VERBS, code
            command = main.get_command(click.Context(main), named[1])
            assert command is not None
            flags = set(re.findall(r"(?<!\S)--[a-z-]+", named[2] or ""))
            assert flags <= options(command), code
        elif path.name != "CHANGELOG.md":  # which also names what is gone
            assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*", code)) <= known, code


# Targets, files, names --------------------------------------------------------------------------


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in targets():
        assert re.search(rf"^  {target} ", shown, re.MULTILINE), target


def targets() -> list[str]:
    phony = re.search(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)
    assert phony is not None
    return phony[1].split()


@each_document
def test_targets_of_make_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = [line for block in blocks(text, "sh", "bash") for line in block.splitlines()]
    for code in [*inline(text), *lines]:
        for named in re.findall(r"^make ([a-z-]+(?: [a-z-]+)*)", code):
            assert set(named.split()) <= set(targets()), code


@each_document
def test_links_inside_the_project_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


@each_document
def test_files_that_are_named_exist(path: Path) -> None:
    names = "|".join((*FOLDERS, *PACKAGES))
    text = path.read_text(encoding="utf-8")
    for found in re.findall(rf"(?<![\w./])(?:{names})/[\w./-]*[\w/]", text):
        first = found.split("/")[0]
        where = ROOT / PACKAGES.get(first, "") / found
        # What is written large stands for something.
        assert where.exists() or where.stem.isupper() or found in NO_FILES, found


@each_document
def test_names_of_python_can_be_imported(path: Path) -> None:
    if path.name == "CHANGELOG.md":
        return  # It tells of versions in which things had other names.
    text = path.read_text(encoding="utf-8")
    pattern = rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+"
    shown = re.findall(rf"^::: ({pattern})$", text, re.MULTILINE)
    for code in [*inline(text), *shown]:
        name = re.match(rf"({pattern})(?:\(|$)", code)
        if name is not None and name[1] not in NO_MODULES:
            resolve(name[1])
    for block in blocks(text, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("twinml"):
                for alias in node.names:
                    resolve(f"{node.module}.{alias.name}")


@functools.cache
def package(name: str) -> griffe.Object:
    """Read a package's source, as the API pages do: importing it would take a minute."""
    loader = griffe.GriffeLoader(search_paths=[ROOT / PACKAGES[name]], allow_inspection=False)
    found = loader.load(name)
    loader.resolve_aliases(implicit=True)
    assert isinstance(found, griffe.Object)
    return found


def resolve(name: str) -> object:
    """Return what is known of the module or object called ``name``; a ``KeyError`` if nothing."""
    top, _, rest = name.partition(".")
    return package(top)[rest]


def test_a_name_that_is_not_there_is_found() -> None:
    resolve("twinml.training.TrainingOptions.budget")
    with pytest.raises(KeyError):
        resolve("twinml.training.nothing")


@each_document
def test_lists_are_indented_as_both_readers_of_markdown_want_it(path: Path) -> None:
    # The site's parser ends a numbered list at a block that is indented by less than four.
    for indent, language in re.findall(r"^( *)```(\w*)", path.read_text(encoding="utf-8"), re.M):
        assert len(indent) % 4 == 0, f"```{language} is indented by {len(indent)}"


# Settings ---------------------------------------------------------------------------------------


# Settings of the server whose variables are not called as the others.
OWN_NAMES = {"cors_origins", "allowed_hosts", "root_path"}


@functools.cache
def variables_of_the_code() -> set[str]:
    literal = set(re.findall(r"\bTWINML_[A-Z_]*[A-Z]\b", sources()))
    # One variable a field, but for the origins, which have Azure's name.
    server = {f"TWINML_SERVER_{field.name.upper()}" for field in fields(ServerSettings)}
    return literal | server - {f"TWINML_SERVER_{name.upper()}" for name in OWN_NAMES}


def test_the_page_of_settings_has_every_variable_and_no_other() -> None:
    said = set(re.findall(r"\bTWINML_[A-Z_]*[A-Z]\b", read("docs/settings.md")))
    assert said == variables_of_the_code()


@each_document
def test_variables_that_are_named_exist(path: Path) -> None:
    said = set(re.findall(r"\bTWINML_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
    assert said <= variables_of_the_code()


def test_the_servers_settings_have_the_defaults_that_are_written() -> None:
    rows = re.findall(
        r"^\| `TWINML_SERVER_([A-Z_]+)`[^|]* \| (\w+) \|", read("docs/settings.md"), re.MULTILINE
    )
    written = {name.lower(): value for name, value in rows}
    fresh = ServerSettings()
    assert written == {
        field.name: f"{getattr(fresh, field.name):g}"
        if isinstance(getattr(fresh, field.name), float)
        else str(getattr(fresh, field.name)).lower()
        for field in fields(ServerSettings)
        if field.name not in OWN_NAMES
    }


# Routes and headers -----------------------------------------------------------------------------


def routes(app: Any) -> set[str]:
    """Return ``METHOD /path`` of an app's rules; what stands for a name is ``*``."""
    return {
        f"{method} {re.sub(r'<[^>]+>', '*', rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }


def written_routes(page: str, stem: str = "") -> set[str]:
    """Return the routes in the first column of a page's tables.

    ``…`` stands for the last path that was written whole, up to its last word; a method for the
    paths that follow it; and a word in capitals for any.
    """
    found = set()
    for cell in re.findall(r"^\| (`[A-Z]+[^|]*`) \|", read(page), re.MULTILINE):
        methods: set[str] = set()
        fresh = True
        for word in " ".join(re.findall(r"`([^`]+)`", cell)).split():
            if "/" not in word:
                methods = {word} if fresh else methods | {word}
                fresh = False
            else:
                path = re.sub(r"(?<=/)[A-Z]+(?=/|$)", "*", word.replace("…", stem))
                found |= {f"{method} {path}" for method in methods}
                fresh = True
    return found


def test_the_routes_of_the_server_are_those_in_its_guide(tmp_path: Path) -> None:
    now = Serving("x", {}, {}, ())
    app: Any = app_of(ScoringService(lambda: now), tmp_path).pages
    app.register_blueprint(metrics(tmp_path))
    # Swagger UI's own files.
    there = {route for route in routes(app) if not route.startswith("GET /docs/*")}
    # Those of the front, which stands before the pages.
    there |= {
        f"{method} {path}"
        for path, route in PATHS.items()
        for method in METHODS[route]
        if method not in ("HEAD", "OPTIONS")
    }
    assert written_routes("docs/serving.md") == there


def test_the_routes_of_the_pipeline_service_are_those_in_its_guide(tmp_path: Path) -> None:
    unused: Any = None
    app = pipeline_service(JobStore(tmp_path / "jobs.db"), unused, tmp_path / "keys.json")
    there = routes(app) - {"GET /docs/*", "GET /docs/dist/*"}
    assert written_routes("docs/pipelines.md", "/pipelines/NAME") == there


@functools.cache
def spoken_of() -> str:
    return sources().lower().replace("_", "-")


@each_document
def test_headers_that_are_named_are_in_the_code(path: Path) -> None:
    spoken = spoken_of()
    for code in inline(path.read_text(encoding="utf-8")):
        name = re.match(r"((?:x|ms|azureml)-[a-z-]+[a-z])(?:: .*)?$", code)
        if name is not None and name[1] not in NO_HEADERS:
            assert name[1] in spoken, code


# Decisions, changelog, the drawn house ----------------------------------------------------------


def test_decisions_are_numbered_without_gaps_and_all_in_the_index() -> None:
    pages = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    rows = re.findall(
        r"^\| \[(\d+)\]\(([^)]+)\) \| (.+) \|$", read("docs/decisions/index.md"), re.MULTILINE
    )
    assert [int(page.name[:3]) for page in pages] == list(range(1, len(pages) + 1))
    assert [(f"# {number}. {title}", name) for number, name, title in rows] == [
        (page.read_text(encoding="utf-8").splitlines()[0], page.name) for page in pages
    ]


def test_the_changelog_has_this_version() -> None:
    assert f"## [{__version__}]" in read("CHANGELOG.md")


@pytest.mark.parametrize("page", ["README.md", "docs/house.md"])
def test_the_drawn_house_is_the_house(page: str) -> None:
    text = read(page)
    drawn = re.findall(r"^([a-z_]+/(?:[a-z_0-9]+/)?)  ", text, re.MULTILINE)
    assert drawn
    for folder in drawn:
        assert (ROOT / folder).is_dir(), folder
    for folder in FOLDERS[:-1]:
        assert any(line.startswith(f"{folder}/") for line in drawn), folder


def test_the_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= 110


def test_locks_are_hashed_and_name_no_address() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        text = lock.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "index-url" not in text
