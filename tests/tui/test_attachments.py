"""Files in a message: mentioned, sent as text, shown as chips, and taken back into the box."""

from __future__ import annotations

from pathlib import Path

import pytest

from glimp_local.errors import UsageError
from glimp_local.records.attached import with_chips
from glimp_local.tui.attachments import collapse, completions, expand, mention, sizes


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "notes.txt"
    file.write_text("one\ntwo\n", encoding="utf-8")
    return file


def test_a_mention_becomes_the_text_of_the_file(notes: Path) -> None:
    assert notes.exists()
    sent = expand("Sum up @notes.txt, please.", {})
    assert sent == 'Sum up <file name="notes.txt" lines="2">\none\ntwo\n</file>, please.'


@pytest.mark.parametrize(
    "message", ["mail me@home.org", "@nobody is here", "an @ alone", "@/", "@~nobody-here", f"@{'a' * 300}", "@a\0b"]
)
def test_a_word_that_names_no_file_stays_as_it_is(message: str, notes: Path) -> None:
    assert notes.exists()
    assert expand(message, {}) == message
    assert sizes(message, {}) == []


def test_what_was_sent_is_shown_as_a_chip_with_its_size(notes: Path) -> None:
    assert notes.exists()
    assert with_chips(expand("Sum up @notes.txt.", {})) == "Sum up [notes.txt, 2 lines, 7 bytes]."


def test_an_edited_message_keeps_the_text_that_was_sent_and_a_new_one_reads_the_file_again(notes: Path) -> None:
    sent = expand("Sum up @notes.txt now", {})
    notes.write_text("changed", encoding="utf-8")
    message, known = collapse(sent)
    assert message == "Sum up @notes.txt now"
    assert expand(message, known) == sent
    assert sizes(message, known) == ["notes.txt 2 lines, 7 bytes"]
    assert "changed" in expand(message, {})


@pytest.mark.parametrize("text", ["", "\n</file>", 'one\n</file>\n<file name="x" lines="1">\ntwo', "a\n\n\nb"])
def test_whatever_stands_in_a_file_its_end_is_known(text: str, notes: Path) -> None:
    sent = expand("@notes.txt and @notes.txt!", {"notes.txt": text})
    assert collapse(sent) == ("@notes.txt and @notes.txt!", {"notes.txt": text})
    assert with_chips(sent).count("[notes.txt, ") == 2
    assert notes.exists()


@pytest.mark.parametrize("typed", ['<file name="x" lines="3">\none\n</file>', '<file name="x" lines="0">\n</file>'])
def test_marks_that_somebody_has_typed_are_no_file(typed: str) -> None:
    assert collapse(typed) == (typed, {})


def test_a_name_with_a_blank_is_mentioned_in_quotes(notes: Path) -> None:
    notes.rename(notes.with_name("my notes.txt"))
    sent = expand(f"Sum up {mention('my notes.txt')}", {})
    assert "two" in sent
    assert collapse(sent)[0] == 'Sum up @"my notes.txt"'


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
        expand(f"What is in @{name}?", {})


def test_files_are_offered_as_their_names_begin_hidden_ones_only_if_asked_for(notes: Path) -> None:
    notes.with_name("north").mkdir()
    notes.with_name(".note").touch()
    notes.with_name("other.txt").touch()
    assert list(completions("no")) == ["north/", "notes.txt"]
    assert list(completions(".n")) == [".note"]
    for nowhere in ("nowhere/x", "~nobody-here/x", "a\0/b"):
        assert list(completions(nowhere)) == []


def test_the_files_of_a_full_folder_are_offered_too(notes: Path) -> None:
    for number in range(300):
        notes.with_name(f"a{number}").touch()
    assert list(completions("not")) == ["notes.txt"]
    assert len(list(completions("a"))) == 100
