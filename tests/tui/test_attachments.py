"""Files in a message: mentioned, sent as text, shown as chips, and taken back into the box."""

from __future__ import annotations

from pathlib import Path

import pytest

from glimp_local.errors import UsageError
from glimp_local.tui.attachments import Attachments, completions, with_chips


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "notes.txt"
    file.write_text("one\ntwo\n", encoding="utf-8")
    return file


def test_a_mention_becomes_the_text_of_the_file(notes: Path) -> None:
    assert notes.exists()
    sent = Attachments().expand("Sum up @notes.txt, please.")
    assert sent == 'Sum up <file name="notes.txt">\none\ntwo\n</file>, please.'


@pytest.mark.parametrize("message", ["mail me@home.org", "@nobody is here", "an @ alone", "@/"])
def test_a_word_that_names_no_file_stays_as_it_is(message: str, notes: Path) -> None:
    assert notes.exists()
    assert Attachments().expand(message) == message


def test_what_was_sent_is_shown_as_a_chip_with_its_size(notes: Path) -> None:
    assert notes.exists()
    assert with_chips(Attachments().expand("Sum up @notes.txt.")) == "Sum up [notes.txt, 2 lines, 7 bytes]."


def test_an_edited_message_keeps_the_text_that_was_sent(notes: Path) -> None:
    sent = Attachments().expand("Sum up @notes.txt now")
    notes.write_text("changed", encoding="utf-8")
    box = Attachments()
    assert box.collapse(sent) == "Sum up @notes.txt now"
    assert box.expand("Sum up @notes.txt now") == sent


def test_a_name_with_a_blank_is_mentioned_in_quotes(notes: Path) -> None:
    notes.rename(notes.with_name("my notes.txt"))
    box = Attachments()
    sent = box.expand('Sum up @"my notes.txt"')
    assert "two" in sent
    assert box.collapse(sent) == 'Sum up @"my notes.txt"'


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("cat.png", b"\x89PNG", "picture"),
        ("data.bin", b"\xff\xfe\x00", "UTF-8"),
        ("long.txt", b"a" * 2_000_001, "too long"),
    ],
)
def test_what_is_no_text_is_refused_in_words(name: str, content: bytes, why: str, notes: Path) -> None:
    notes.with_name(name).write_bytes(content)
    with pytest.raises(UsageError, match=why):
        Attachments().expand(f"What is in @{name}?")


def test_files_are_offered_as_their_names_begin_hidden_ones_only_if_asked_for(notes: Path) -> None:
    notes.with_name("north").mkdir()
    notes.with_name(".note").touch()
    notes.with_name("other.txt").touch()
    assert list(completions("no")) == ["north/", "notes.txt"]
    assert list(completions(".n")) == [".note"]
    assert list(completions("nowhere/x")) == []
