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
    converted = _unicode(match[kind])
    if converted is None:
        return match[0]
    if kind == "boxed":
        return f"**{converted}**"
    if kind in {"square", "double"}:
        return f"\n\n> {converted}\n\n"
    return converted


def _unicode(latex: str) -> str | None:
    """Convert one formula, so that nothing in it means anything to Markdown; None where it cannot be converted."""
    from glimp_local.tui.latex import unicode  # noqa: PLC0415 - only where there is a formula

    text = unicode(latex)
    if text is None:
        return None
    return _MARKDOWN.sub(r"\\\1", " ".join(_OPERATOR.sub(r" \1 ", text).split()))
