"""What of the models' Markdown is a list, and what a result."""

from __future__ import annotations

import pytest

from glimp_local.tui.markdown import parser


def read(text: str) -> list[str]:
    """What is text in it, with "-" where an item begins."""
    kinds = {"list_item_open": "-"}
    return [kinds.get(token.type, token.content) for token in parser().parse(text) if token.type in {*kinds, "inline"}]


@pytest.mark.parametrize("text", ["146.", "7)", "So:\n42.", "42.\n43.", "1.\ntext"])
def test_a_number_alone_on_its_line_is_text(text: str) -> None:
    assert read(text) == [text]


def test_a_number_alone_inside_a_list_or_a_quote_is_text() -> None:
    assert read("- a\n\n  7.") == ["-", "a", "7."]
    assert read("> 42.") == ["42."]


def test_a_list_stays_one() -> None:
    assert read("1. a\n2. b") == ["-", "a", "-", "b"]
    assert read("1.\n   text\n2.\n   more") == ["-", "text", "-", "more"]
    assert read("```\n1.\n```") == []
