"""The titles of saved conversations, and the lists they stand in."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import datetime, tzinfo
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from glimp_local import units
from glimp_local.cli import cli
from glimp_local.cli.session_rows import Rows
from glimp_local.errors import UsageError
from glimp_local.events import Rewound, StepEnded, StepStarted, encode
from glimp_local.records import conversations, saved
from glimp_local.records.attached import block
from glimp_local.records.lines import VERSION, Header, decode
from glimp_local.records.listing import Entry
from glimp_local.records.session_log import SessionLog, rename
from glimp_local.runs import Run
from glimp_local.tree import Tree
from tests.support.damaged import HEADER, converse, turn_lines, write


class Frozen(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Frozen:
        return cls(2026, 1, 2, tzinfo=tz)


def glimp(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["sessions", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_conversation_is_renamed_stays_as_old_as_it_was_and_gets_its_question_back() -> None:
    path = converse("x", turns=2)
    os.utime(path, (1, 1))
    converse("newer", turns=1)
    lines = path.read_bytes()
    glimp("rename", "x", "  Marbles\n and apples ")
    found = conversations.find("x")
    assert (found.title, found.damage, len(found.turns)) == ("Marbles and apples", None, 2)
    assert path.read_bytes().startswith(lines)
    assert path.read_bytes().count(b"\n") == lines.count(b"\n") + 1
    assert conversations.ids() == ["newer", "x"]
    assert glimp("show", "x").startswith("# Marbles and apples\n\n*builtin, ")
    glimp("rename", "x", "")
    assert conversations.find("x").title == "Question 0: how many?"


def test_a_name_outlives_another_pair_and_a_new_turn() -> None:
    converse("x", turns=1)
    log = SessionLog(conversations.find("x"))
    log.rename("Marbles")
    log.begin("another", {})
    for line in turn_lines(7):
        log.write(decode(line))  # type: ignore[arg-type]  # they are events
    log.close()
    found = conversations.find("x")
    assert (found.title, found.header.pair, len(found.turns)) == ("Marbles", "another", 2)


def test_a_name_costs_a_damaged_conversation_nothing_more() -> None:
    lines = turn_lines(1)
    path = write("x", HEADER, *turn_lines(0), *lines[:3], b"?\n", *lines[5:])
    before = conversations.find("x")
    rename(before, "Marbles")
    after = conversations.find("x")
    assert (after.title, after.turns, after.damage) == ("Marbles", before.turns, before.damage)
    assert b"?\n" in path.read_bytes()


def test_a_name_given_in_between_leaves_the_numbers_of_the_steps_as_they_are() -> None:
    lines = turn_lines(0)
    at = next(number for number, line in enumerate(lines) if isinstance(decode(line), StepEnded)) + 1
    damaged = [HEADER, *lines[: at - 1], b"?\n", *lines[at:-2]]
    redone = [encode(Rewound(2)) + b"\n", *(line for line in lines[at:-2] if _index(line) >= 2), *lines[-2:]]
    name = msgspec.json.encode(msgspec.structs.replace(Header(1, "x", "builtin"), title="Marbles")) + b"\n"
    plain, named = (saved.read(write(id_, *damaged, *between, *redone)) for id_, between in (("x", []), ("y", [name])))
    assert named.title == "Marbles"
    assert [step.text for step in named.turns[-1].steps] == [step.text for step in plain.turns[-1].steps]


def _index(line: bytes) -> int:
    event = decode(line)
    return event.step.index if isinstance(event, StepEnded) else event.index if isinstance(event, StepStarted) else -1


def test_a_name_may_be_given_while_another_thread_writes() -> None:
    log = SessionLog()
    log.begin("builtin", {})
    events = [decode(line) for number in range(20) for line in turn_lines(number)]
    log.write(events[0])  # type: ignore[arg-type]  # they are events

    def rename_often() -> None:
        for number in range(50):
            log.rename(f"name {number}")

    naming = threading.Thread(target=rename_often)
    naming.start()
    for event in events[1:]:
        log.write(event)  # type: ignore[arg-type]  # they are events
    naming.join()
    log.close()
    found = saved.read(log.path)
    assert (found.title, found.damage, len(found.turns)) == ("name 49", None, 20)


def test_what_an_older_glimp_wrote_is_marked_when_it_is_continued() -> None:
    path = write("x", HEADER.replace(f'"version":{VERSION}'.encode(), b'"version":1'), *turn_lines(0))
    assert b'"version":1' in path.read_bytes()
    log = SessionLog(conversations.find("x"))
    for line in turn_lines(1):
        log.write(decode(line))  # type: ignore[arg-type]  # they are events
    log.close()
    assert path.read_bytes().count(f'"version":{VERSION}'.encode()) == 1
    assert len(conversations.find("x").turns) == 2


def test_a_long_title_is_shortened_in_lists_alone() -> None:
    converse("x", turns=1)
    title = "marbles " * 20
    glimp("rename", "x", title)
    assert conversations.find("x").title == title.strip()
    assert json.loads(glimp("list", "--json"))["title"].endswith("…")
    assert json.loads(glimp("export", "x", "--format", "json"))["title"] == title.strip()


def test_a_question_that_begins_with_a_file_has_the_file_for_a_title() -> None:
    question = f"{block('notes.txt', 'one' + chr(10) + 'two')} Sum it up."
    assert saved.SavedSession("x", Path("x"), "", Header(1, "", ""), Tree.of(Run(question)), None).title == (
        "[notes.txt, 2 lines, 7 bytes] Sum it up."
    )


def test_of_a_conversation_in_which_nothing_was_asked_there_is_no_page() -> None:
    write("x", HEADER)
    assert "nothing was asked" in glimp("export", "x", "--format", "html", code=2)


def test_what_is_not_saved_yet_cannot_be_renamed() -> None:
    with pytest.raises(UsageError, match="nothing is saved yet"):
        SessionLog().rename("Marbles")


def test_a_list_has_a_row_for_each_with_its_age_size_and_title() -> None:
    path = converse("20261127-101126-aaaa", turns=2)
    os.utime(path, (1, time.time() - 2 * 3600 - 5))
    write("lost", b"?\n")
    heading, *rows = glimp("list").splitlines()
    assert heading.split() == ["ID", "AGE", "TURNS", "PAIR", "SIZE", "TITLE"]
    assert rows[0].startswith("lost ")
    assert "(cannot be restored: line 1: " in rows[0]
    places = [rows[1].index(cell) for cell in ("20261127-101126-aaaa", "2 h ago", "builtin", "Question 0: how many?")]
    assert places == [heading.index(cell) for cell in ("ID", "AGE", "PAIR", "TITLE")]
    assert rows[1].split()[4:7:2] == ["2", units.file_size(path.stat().st_size).split()[0]]


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_a_row_on_a_terminal_is_as_wide_as_it_and_harmless(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    write("20261127-101126-aaaa", HEADER, *turn_lines(0, "数える\x1b[2J and count " * 4))
    rows = Rows(conversations.ids(), on_terminal=True)
    row = rows.row(Entry.of(conversations.find()))
    assert row.endswith("…")
    assert columns - 2 <= cell_len(row) <= columns
    assert "\x1b" not in row
    assert [("PAIR" in rows.heading()), ("AGE" in rows.heading())] == [columns > 80, columns > 60]


def test_a_list_finds_what_was_said_and_shows_where() -> None:
    converse("x", turns=30)
    entry = Entry.of(conversations.find("x"))
    assert entry.has(["QUESTION", "29", "builtin"])
    assert not entry.has(["question", "thirty"])
    assert not entry.has(["Third"])  # it is in a thought
    assert entry.around(["question", "\\boxed{7}"]).startswith("…")
    assert "The answer is \\boxed{7}." in entry.around(["question", "\\boxed{7}"])
    assert entry.around(["question"]) == ""


def test_a_conversation_that_was_left_is_renamed_by_whoever_opens_it() -> None:
    converse("x", turns=1)
    log = SessionLog(conversations.find("x"))
    log.close()
    with pytest.raises(UsageError, match="was left before"):
        log.rename("Other")
    assert conversations.find("x").name in {None, ""}


def test_a_title_that_is_no_text_is_refused() -> None:
    converse("x", turns=1)
    assert "not UTF-8" in glimp("rename", "x", "\udcff", code=2)


def test_an_exported_file_stands_in_a_fence_and_not_in_a_heading() -> None:
    text = "# Not a heading\n```\n<script>"
    write("x", HEADER, *turn_lines(0, f"Look at {block('notes.md', text)}, please"))
    said = glimp("export", "x")
    assert "## Look at [notes.md, 3 lines, 28 bytes], please\n\n````\n# Not a heading\n```\n<script>\n````\n\n" in said


def test_a_page_has_the_title_and_the_system_message(tmp_path: Path) -> None:
    write("x", HEADER, *turn_lines(0, f"See {block('a.md', 'text')}", "Be brief & kind."))
    glimp("rename", "x", "My <title>")
    glimp("export", "x", "--format", "html", "-o", str(tmp_path / "x.html"))
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "<title>My &lt;title&gt;</title>" in page
    assert "<h1>My &lt;title&gt;</h1>" in page
    assert "<h2>See [a.md, 1 line, 4 bytes]</h2>" in page
    assert "Be brief &amp; kind." in page
