"""One formula of LaTeX as Unicode: pylatexenc's conversion, but for what would get lost in it or change its meaning.

Imported where a text has a formula: most have none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pylatexenc import latexwalker
from pylatexenc.latex2text import LatexNodes2Text
from pylatexenc.macrospec import std_macro

_PLAIN_PERCENT = re.compile(r"(?<!\\)%")
_SCRIPT = re.compile(r"([\^_])(\S)")
_ATOM = re.compile(r"[\w.]+")
_RAISED = str.maketrans("0123456789+-=()ni∘", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ°")
_LOWERED = str.maketrans("0123456789+-=()aeijknmx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑᵢⱼₖₙₘₓ")
_ROOTS = {"": "√", "2": "√", "3": "∛", "4": "∜"}
_LOST = frozenset({"overline", "underline", "\\"})
"""Commands whose meaning pylatexenc drops: 0.333... would become 0.3."""


def unicode(latex: str) -> str | None:
    """Convert a formula; None where it cannot be done so that it means the same."""
    # A comment has no place in a formula: who writes % means per cent.
    latex = _PLAIN_PERCENT.sub(r"\\%", latex)
    try:
        text: str = _CONVERTER.latex_to_text(latex, latex_context=_KNOWN, tolerant_parsing=False)
    except (latexwalker.LatexWalkerParseError, ValueError, KeyError, TypeError, IndexError):
        return None
    return None if "\\" in text else text


def _script(sign: str, text: str) -> str:
    """Raise (`^`) or lower (`_`) a text; in brackets where Unicode has no such letters."""
    moved = text.translate(_RAISED if sign == "^" else _LOWERED)
    if not set(moved) & set(text):
        return moved
    return sign + (text if len(text) == 1 else f"({text})")


def _fraction(above: str, below: str) -> str:
    return "/".join(part if _ATOM.fullmatch(part) else f"({part})" for part in (above, below))


def _root(index: str, content: str) -> str:
    return f"{_ROOTS[index]}({content})"


_COMMANDS: dict[str, tuple[int, Callable[..., str]]] = {
    **dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac"), (2, _fraction)),
    "binom": (2, "C({}, {})".format),
    "boxed": (1, "[ {} ]".format),
    "operatorname": (1, "{} ".format),
    "pmod": (1, " (mod {})".format),
    "bmod": (0, " mod ".format),
    "gcd": (0, "gcd ".format),
    "lcm": (0, "lcm ".format),
    "implies": (0, " ⇒ ".format),
    "iff": (0, " ⇔ ".format),
    # These say only how large something is, or where it stands.
    **dict.fromkeys(
        ("left", "right", "big", "Big", "bigg", "Bigg", "displaystyle", "textstyle", "limits", "nolimits", "!"),
        (0, "".format),
    ),
}
"""How many arguments a command has, and what is written in its place."""


class _Converter(LatexNodes2Text):  # type: ignore[misc]  # pylatexenc ships no types
    """Raises ValueError where pylatexenc would drop a command it does not know."""

    def nodelist_to_text(self, nodelist: Any) -> str:
        text, fraction = "", False
        for node in nodelist:
            more = self.node_to_text(node)
            if text[-1:] in {"^", "_"} and not node.isNodeType(latexwalker.LatexCharsNode):
                more, text = _script(text[-1], more), text[:-1]
            elif (fraction and more[:1].isalnum()) or (text[-1:].isdigit() and more[:1].isdigit()):
                more = " " + more  # neither is 2 1/2 the same as 21/2, nor 1/2 x as 1/2x
            text += more
            fraction = getattr(node, "macroname", "").endswith("frac")
        return text

    def chars_node_to_text(self, node: Any, textcol: int = 0) -> str:
        text: str = super().chars_node_to_text(node, textcol=textcol)
        return _SCRIPT.sub(lambda match: _script(match[1], match[2]), text)

    def macro_node_to_text(self, node: Any) -> str:
        name, given = node.macroname, node.nodeargd.argnlist if node.nodeargd else []
        if name in _COMMANDS or name == "sqrt":
            write = _root if name == "sqrt" else _COMMANDS[name][1]
            return write(*(self._groupnodecontents_to_text(argument) if argument else "" for argument in given))
        text: str = super().macro_node_to_text(node)
        if name in _LOST or not text:
            raise ValueError(name)
        return text if given else text + node.macro_post_space

    def environment_node_to_text(self, node: Any) -> str:
        raise ValueError(node.environmentname)  # a table in a line is none

    def specials_node_to_text(self, node: Any) -> str:
        if node.specials_chars == "&":
            raise ValueError("&")
        text: str = super().specials_node_to_text(node)
        return text


_KNOWN = latexwalker.get_default_latex_context_db()
_KNOWN.add_context_category(
    "glimp", macros=[std_macro(name, "{" * count) for name, (count, _) in _COMMANDS.items()], prepend=True
)
_CONVERTER = _Converter(math_mode="text", fill_text=False)
