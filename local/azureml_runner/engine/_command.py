"""A command's text made ready for the shell: expressions become variables.

Azure pastes values into the text. Here a value is never part of the text: ``${{inputs.x}}``
becomes ``${AZURE_ML_INPUT_x}`` and the value goes into the environment. A shell does not read
the content of a variable as code, so that what a REST client sends cannot become a command,
while an unquoted value is still split at blanks as on Azure. A path is one word always.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from azureml_runner.errors import UsageError

__all__ = ["expressions", "render"]

_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
# An input of a group has the group's name before its own, with a dot.
_NAMED = re.compile(r"(inputs|outputs)\.([\w-]+(?:\.[\w-]+)*)")
_OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
_SPECIAL = re.compile(r"\\.|'|\"|\$\(|\(|\)|\$\{\{\s*.+?\s*\}\}", re.DOTALL)


def expressions(command: str) -> Sequence[tuple[str, str]]:
    """Return what a command names, as ``("inputs", "x")``, in order.

    Raises
    ------
    UsageError
        An expression is none of ``${{inputs.x}}`` and ``${{outputs.x}}``.

    Examples
    --------
    >>> expressions("train $[[--rate ${{inputs.rate}}]] --out ${{outputs.model}}")
    [('inputs', 'rate'), ('outputs', 'model')]
    """
    found = []
    for match in _EXPRESSION.finditer(command):
        named = _NAMED.fullmatch(match.group(1))
        if named is None:
            raise UsageError(
                f"command: '{match.group(0)[:80]}' is not known",
                hint="Write ${{inputs.X}} or ${{outputs.X}}.",
            )
        found.append((named.group(1), named.group(2)))
    return found


def render(
    command: str,
    inputs: Mapping[str, str | Path | None],
    outputs: Mapping[str, Path],
) -> tuple[str, dict[str, str]]:
    """Return a shell text and the variables that it needs.

    Parameters
    ----------
    command
        The text with expressions.
    inputs
        Text or path by name; ``None`` where an optional input is not given.
    outputs
        Path by name.

    Raises
    ------
    UsageError
        An input that is not given stands outside of ``$[[ … ]]``, or is unknown.

    Examples
    --------
    >>> text, variables = render("echo ${{inputs.who}}", {"who": "a b"}, {})
    >>> text, variables
    ('echo ${AZURE_ML_INPUT_who}', {'AZURE_ML_INPUT_who': 'a b'})
    """
    kept = _OPTIONAL.sub(lambda match: _optional(match.group(1), inputs), command)
    variables: dict[str, str] = {}
    text = []
    # What encloses the place that is read: ' or " quotes, or ( of a substitution.
    inside: list[str] = []
    position = 0
    for match in _SPECIAL.finditer(kept):
        found = match.group(0)
        text.append(kept[position : match.start()])
        position = match.end()
        quote = inside[-1] if inside else ""
        if found.startswith("${{"):
            text.append(_reference(found, quote, inputs, outputs, variables))
            continue
        text.append(found)
        if quote == "'":
            if found == "'":
                inside.pop()
            elif found.startswith("\\") and found.endswith("'"):
                inside.pop()  # Nothing is escaped in single quotes.
        elif found == '"':
            if quote == '"':
                inside.pop()
            else:
                inside.append('"')
        elif found == "'" and quote != '"':
            inside.append("'")
        elif found == "$(" or (found == "(" and quote != '"'):
            inside.append("(")
        elif found == ")" and quote == "(":
            inside.pop()
    text.append(kept[position:])
    return "".join(text), variables


def _optional(content: str, inputs: Mapping[str, str | Path | None]) -> str:
    missing = any(
        kind == "inputs" and inputs.get(name) is None for kind, name in expressions(content)
    )
    return "" if missing else content


def _reference(
    found: str,
    quote: str,
    inputs: Mapping[str, str | Path | None],
    outputs: Mapping[str, Path],
    variables: dict[str, str],
) -> str:
    kind, name = expressions(found)[0]
    value = inputs.get(name) if kind == "inputs" else outputs.get(name)
    if value is None:
        raise UsageError(
            f"command: {kind[:-1]} '{name}' has no value",
            hint="An optional input belongs into $[[ … ]]; others must be declared.",
        )
    variable = f"AZURE_ML_{kind[:-1].upper()}_{re.sub(r'[^0-9A-Za-z]', '_', name)}"
    while variables.get(variable, str(value)) != str(value):
        variable += "_"  # 'a-b' and 'a_b' are two inputs.
    variables[variable] = str(value)
    if quote == "'":
        return f"'\"${{{variable}}}\"'"
    if quote == '"' or not isinstance(value, Path):
        return f"${{{variable}}}"
    return f'"${{{variable}}}"'
