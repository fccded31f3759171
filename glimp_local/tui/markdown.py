"""The Markdown parser for what models write: no character steers a terminal, and a result is no list."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, list_block
from markdown_it.rules_core import StateCore

from glimp_local.text import harmless

_NUMBER = re.compile(r"\d+[.)]\s*")
_INDENT = 2
"""Columns by which an item's text is indented where it stands below its number."""


def _list(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a list. A number with nothing behind or below it is text: "42." would be an empty item, and not be seen."""
    line = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    below = start + 1
    is_alone = below >= end or state.isEmpty(below) or state.sCount[below] < state.sCount[start] + _INDENT
    return not (is_alone and _NUMBER.fullmatch(line)) and list_block(state, start, end, silent)


def _show_entities(state: StateCore) -> None:
    """Make harmless what Markdown itself made of the text: `&#x202e;` is a character only now."""
    for token in state.tokens:
        token.content = harmless(token.content)
        for child in token.children or ():
            child.content = harmless(child.content)


_PARSER = MarkdownIt("gfm-like", {"linkify": False})
_PARSER.block.ruler.at("list", _list, {"alt": ["paragraph", "reference", "blockquote"]})
_PARSER.core.ruler.push("glimp_harmless", _show_entities)


def parser() -> MarkdownIt:
    """Give the one parser: making one takes longer than parsing a step."""
    return _PARSER
