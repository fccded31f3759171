"""LaTeX in a text as Unicode, where it means the same there; left as it is where not."""

from __future__ import annotations

import re

_FORMULA = re.compile(
    r"""
      \\\( (?P<round>.+?) \\\)
    | \\\[ (?P<square>.+?) \\\]
    | \$\$ (?P<double>.+?) \$\$
    | (?<![\\$\w]) \$ (?P<single>[^\s$](?:[^$\n]*[^\s$\\])?) \$ (?![\d$])
    | (?P<boxed>\\boxed\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})
    """,
    re.VERBOSE | re.DOTALL,
)
_OPERATOR = re.compile(r"([=<>≤≥≠≈≡×÷±·→⇒⇔∈∉⊂⊆])")  # noqa: RUF001 - no letter x
_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#~|])")


def readable(text: str, *, markdown: bool = True) -> str:
    r"""Turn formulas (`\(...\)`, `\[...\]`, `$...$`, `$$...$$`, `\boxed{...}`) into Unicode; code is left.

    `markdown` is for a text that will be shown as Markdown: nothing in a formula means anything there.
    """
    if "\\" not in text and "$" not in text:
        return text
    parts = _CODE.split(text)
    convert = _in_markdown if markdown else _plain
    parts[::2] = [_FORMULA.sub(convert, part) for part in parts[::2]]
    return "".join(parts)


def _plain(match: re.Match[str]) -> str:
    assert match.lastgroup is not None
    converted = _unicode(match[match.lastgroup])
    return match[0] if converted is None else converted


def _in_markdown(match: re.Match[str]) -> str:
    kind = match.lastgroup
    assert kind is not None
    converted = _unicode(match[kind])
    if converted is None:
        return match[0]
    converted = _MARKDOWN.sub(r"\\\1", converted)
    if kind == "boxed":
        return f"**{converted}**"
    if kind in {"square", "double"}:
        return f"\n\n> {converted}\n\n"
    return converted


def _unicode(latex: str) -> str | None:
    """Convert one formula into one line; None where it cannot be converted."""
    from glimp_local.tui.latex import unicode  # noqa: PLC0415 - only where there is a formula

    text = unicode(latex)
    if text is None:
        return None
    return " ".join(_OPERATOR.sub(r" \1 ", text).split())
