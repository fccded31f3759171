"""The main screens look as they are pictured in docs/."""

from __future__ import annotations

import pytest

from tests.pictures import DOCS, SCREENS, draw, seen


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_looks_as_it_is_pictured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pictured = seen((DOCS / f"{name}.svg").read_text(encoding="utf-8"))
    assert seen(draw(name, monkeypatch)) == pictured, "if it is meant: python -m tests.pictures"
    assert len(pictured) > 20


def test_without_colour_letters_and_borders_tell_the_models_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = seen(draw("chat-no-color", monkeypatch))
    assert {"S", "L"} <= {text.strip()[:1] for text, _ in spans}
    colours = {part for _, style in spans for part in style.split(";") if part.strip().startswith("fill")}
    assert all(len({colour.strip().removeprefix("fill: #")[i : i + 2] for i in (0, 2, 4)}) == 1 for colour in colours)
