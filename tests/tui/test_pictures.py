"""The main screens look as they are pictured in docs/."""

from __future__ import annotations

import re

import pytest

from tests.support.pictures import DOCS, SCREENS, draw, seen

pytestmark = pytest.mark.screen


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_looks_as_it_is_pictured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pictured = seen((DOCS / f"{name}.svg").read_text(encoding="utf-8"))
    assert seen(draw(name, monkeypatch)) == pictured, "if it is meant: python -m tests.support.pictures"
    assert len(pictured) > 20


def test_another_pair_is_offered_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ([text for text, _ in seen(draw("chat-welcome", monkeypatch))] for _ in range(2))
    assert any("glimp models pull" in text for text in first)
    assert not any("glimp models pull" in text for text in second)
    assert "nothing else." in second


def test_without_colour_letters_and_borders_tell_the_models_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = seen(draw("chat-no-color", monkeypatch))
    assert {"S", "L"} <= {text.strip()[:1] for text, _ in spans}
    colours = {colour for _, style in spans for colour in re.findall("fill: #(......)", style)}
    assert len(colours) > 3
    for colour in colours:
        channels = bytes.fromhex(colour)
        assert max(channels) - min(channels) <= 3, colour  # what has no style at all is drawn in a bluish grey
