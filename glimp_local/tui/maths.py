"""LaTeX in a text as Unicode, where that can be read; left as it is where not."""

from __future__ import annotations

import re
from functools import cache

_FORMULA = re.compile(
    r"""
      \\\( (?P<round>.+?) \\\)
    | \\\[ (?P<square>.+?) \\\]
    | \$\$ (?P<double>.+?) \$\$
    | (?<![\\$\w]) \$ (?P<single>[^\s$](?:[^$\n]*[^\s$\\])?) \$ (?![\d$])
    | (?P<boxed>\\boxed\{(?:[^{}]|\{[^{}]*\})*\})
    """,
    re.VERBOSE | re.DOTALL,
)
_OPERATOR = re.compile(r"([=<>≤≥≠≈≡×÷±·→⇒⇔∈∉⊂⊆])")  # noqa: RUF001 - no letter x
_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#~|])")


def readable(text: str) -> str:
    r"""Turn formulas (`\(...\)`, `\[...\]`, `$...$`, `$$...$$`, `\boxed{...}`) into Unicode; code is left."""
    if "\\" not in text and "$" not in text:
        return text
    parts = _CODE.split(text)
    parts[::2] = [_FORMULA.sub(_convert, part) for part in parts[::2]]
    return "".join(parts)


def _convert(match: re.Match[str]) -> str:
    kind = match.lastgroup
    assert kind is not None
    inner = match[kind]
    if kind == "boxed":
        content = inner.removeprefix("\\boxed{").removesuffix("}")
        converted = _unicode(content)
        return match[0] if converted is None else f"**[ {converted} ]**"
    converted = _unicode(inner)
    if converted is None:
        return match[0]
    if kind in {"square", "double"} and "\n" not in converted:
        return f"\n\n> {converted}\n\n"
    return converted


def _unicode(latex: str) -> str | None:
    """Convert one formula, so that nothing in it means anything to Markdown; None where it cannot be converted."""
    from pylatexenc.latexwalker import LatexWalkerParseError  # noqa: PLC0415 - only where there is a formula

    try:
        text = _converter().latex_to_text(latex, tolerant_parsing=False)
    except (LatexWalkerParseError, ValueError, TypeError, IndexError):
        return None
    if "\\" in text:
        return None
    # The blank behind a command is part of it and gone.
    text = _OPERATOR.sub(r" \1 ", text)
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


@cache
def _converter():  # type: ignore[no-untyped-def]  # noqa: ANN202 - pylatexenc ships no types
    from pylatexenc.latex2text import LatexNodes2Text  # noqa: PLC0415 - only where there is a formula

    return LatexNodes2Text(math_mode="text", fill_text=False)
