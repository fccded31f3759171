"""A conversation that was had with a model on a server is continued with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from glimp_local.cli.chat import _take_up_pair
from glimp_local.events import Started
from glimp_local.records import saved
from glimp_local.records.session_log import SessionLog
from glimp_local.routing import Model

BOX, DESK = "http://box:8000", "http://desk:8000"


def taken_up(pair: str, files: dict[Model, Path], urls: dict[Model, str], **flags: Any) -> dict[str, Any]:
    """Save a conversation, and return the flags with which it is continued, those that are set."""
    log = SessionLog()
    log.begin(pair, files, urls)
    log.write(Started("How many?", pair, "threshold", 1, "s", "l", thinks=False, prompt_tokens=1))
    log.close()
    found = dict.fromkeys(("name", "small", "large", "small_url", "large_url", "policy")) | flags
    _take_up_pair(found, saved.read(log.path).header)
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("pair", "files", "urls", "expected"),
    [
        ("mine", {}, {}, {"name": "mine"}),
        ("mine", {}, {"large": BOX}, {"name": "mine", "large_url": BOX}),
        (f"{DESK} + {BOX}", {}, {"small": DESK, "large": BOX}, {"small_url": DESK, "large_url": BOX}),
        (BOX, {}, {"large": BOX}, {"large_url": BOX, "policy": "large"}),
    ],
)
def test_the_servers_it_was_had_with_are_taken_again(
    pair: str, files: dict[Model, Path], urls: dict[Model, str], expected: dict[str, Any]
) -> None:
    assert taken_up(pair, files, urls) == expected


def test_a_file_beside_a_server_is_taken_again_with_it(tmp_path: Path) -> None:
    file = tmp_path.resolve() / "a.gguf"
    assert taken_up(f"a + {BOX}", {"small": file}, {"large": BOX}) == {"small": file, "large_url": BOX}
    assert taken_up("a", {"small": file}, {}) == {"small": file, "policy": "small"}


def test_a_server_that_is_named_now_counts_more(tmp_path: Path) -> None:
    small, large = tmp_path.resolve() / "a.gguf", tmp_path.resolve() / "b.gguf"
    assert taken_up("mine", {}, {"large": BOX}, large_url=DESK) == {"name": "mine", "large_url": DESK}
    both: dict[Model, Path] = {"small": small, "large": large}
    assert taken_up("a + b", both, {}, large_url=DESK) == {"small": small, "large_url": DESK}


def test_another_server_is_another_line_of_the_file() -> None:
    log = SessionLog()
    log.begin("mine", {}, {"large": BOX})
    first = log.header
    log.begin("mine", {}, {"large": BOX})
    assert log.header is first
    log.begin("mine", {}, {"large": DESK})
    assert log.header is not first
    log.close()
