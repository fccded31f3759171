"""Conversations on the disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from glimp_local import Session
from glimp_local.cli import cli
from glimp_local.errors import UsageError
from glimp_local.events import Rewound, StepStarted, TakenBack, Text
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.records import conversations, saved, session_log
from glimp_local.records.lines import decode
from glimp_local.records.runs import read_runs
from glimp_local.records.session_log import SessionLog, rename
from glimp_local.session.versions import versions_of
from tests.support.conversing import restored, talk
from tests.support.damaged import HEADER, converse, turn_lines, write
from tests.support.sessions import Open, exchanges_of


@pytest.fixture
def pair(open_pair: Open) -> Pair:
    return open_pair()


class Frozen(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Frozen:
        return cls(2026, 1, 2, tzinfo=tz)


def before_last(found: saved.SavedSession, *beginning: Message) -> Sequence[Message]:
    """Return what a session that restores a conversation has the models read before the last question."""
    assert found.tree.at is not None
    return versions_of(found.tree, beginning)[found.tree.at].history


def glimp(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["sessions", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_conversation_is_read_back_as_it_was(pair: Pair) -> None:
    found = talk(pair, "first", "second")
    assert [(turn.question, turn.answer, turn.finish) for turn in found.turns] == [
        ("first", "Answer \\boxed{3}", "done"),
        ("second", "Answer \\boxed{3}", "done"),
    ]
    assert found.turns[0].thought == "First one.\n\nSecond two:\n\nThird three.\n\n"
    assert found.title == "first"
    assert before_last(found) == [Message("user", "first"), Message("assistant", "Answer \\boxed{3}")]


def test_every_finished_step_is_on_the_disk_before_the_next_one_begins(pair: Pair) -> None:
    log = SessionLog()
    log.begin(pair.name, {})
    for event in Session(pair, seed=1).ask("?"):
        log.write(event)
        if isinstance(event, StepStarted) and event.index:
            assert len(saved.read(log.path).turns[0].steps) == event.index


def test_a_line_cut_short_is_left_out_and_written_over(pair: Pair) -> None:
    whole = talk(pair, "first")
    with whole.path.open("ab") as file:
        file.write(b'{"type":"step_en')
    cut = saved.read(whole.path)
    assert cut.turns == whole.turns
    after = talk(pair, "second", log=SessionLog(cut))
    assert [turn.question for turn in after.turns] == ["first", "second"]


def test_what_a_full_disk_refuses_is_written_once_there_is_room(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    log, opened, room = SessionLog(), Path.open, True

    def open_(path: Path, *arguments: Any, **more: Any) -> Any:
        # As much as Linux offers: a device that is always full, in place of the file.
        return opened(path if room else Path("/dev/full"), *arguments, **more)

    monkeypatch.setattr(Path, "open", open_)
    log.begin(pair.name, {})
    for number, event in enumerate(Session(pair, seed=1).ask("first")):
        room = not 3 < number < 12
        log.write(event)
        assert isinstance(event, Text) or (log.error is None) == room
    whole = saved.read(log.path).turns
    assert [(turn.question, len(turn.steps), turn.finish) for turn in whole] == [("first", 5, "done")]


def test_a_conversation_is_written_and_removed_by_one_at_a_time(pair: Pair) -> None:
    found = talk(pair, "first")
    log = SessionLog(found)
    for rival in (SessionLog, lambda found: conversations.remove(found.path), lambda found: rename(found, "x")):
        with pytest.raises(UsageError, match="is open in another glimp chat"):
            rival(found)
    assert "is open in another" in glimp("rm", found.id, "--yes", code=2)
    log.close()
    glimp("rm", found.id, "--yes")
    assert list(conversations.folder().iterdir()) == []


def test_a_conversation_is_written_by_one_at_a_time_by_whatever_name_it_is_found(tmp_path: Path) -> None:
    path = converse("real")
    (conversations.folder() / "alias.jsonl").symlink_to(path)
    outside = converse("outside").rename(tmp_path / "outside.jsonl")
    for name in ("mine", "other"):
        (conversations.folder() / f"{name}.jsonl").symlink_to(outside)
    for one, other in (("real", "alias"), ("alias", "real"), ("mine", "other")):
        log = SessionLog(conversations.find(one))
        with pytest.raises(UsageError, match=f"{other} is open in another glimp chat"):
            SessionLog(conversations.find(other))
        log.close()
    assert not list(tmp_path.glob("*.lock"))


def test_what_somebody_else_has_written_is_not_written_over() -> None:
    path = converse("x")
    log = SessionLog(conversations.find("x"))
    log.write(TakenBack())
    with path.open("ab") as file:
        file.write(turn_lines(7)[0])
    before = path.read_bytes()
    for _ in range(2):
        log.write(Rewound(1))
        assert log.error is not None
        assert log.error.strerror == "another program has changed the file, and nothing of it is written over"
    assert path.read_bytes() == before
    log.close()


def test_a_conversation_that_was_changed_after_it_was_read_is_read_again_first() -> None:
    path = converse("x")
    found = conversations.find("x")
    with path.open("ab") as file:
        file.write(turn_lines(7)[0])
    with pytest.raises(UsageError, match="x was changed meanwhile") as error:
        SessionLog(found)
    assert error.value.hint == "the same command again reads what was added"
    SessionLog(conversations.find("x")).close()


def test_a_new_conversation_takes_no_file_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(session_log, "secrets", SimpleNamespace(token_hex=lambda _: next(drawn)))
    monkeypatch.setattr(session_log, "datetime", Frozen)
    first, second = SessionLog(), SessionLog()
    for log in (first, second):
        log.begin("builtin", {})
        log.write(decode(turn_lines(0)[0]))  # type: ignore[arg-type]  # it is an event
        assert log.error is None
        assert len(saved.read(log.path).turns) == 1
    assert (first.path.stem[-4:], second.path.stem[-4:]) == ("aaaa", "bbbb")
    first.close()
    second.close()
    assert len(list(conversations.folder().iterdir())) == 2


def test_a_conversation_that_is_not_to_be_removed_after_all_is_kept_and_that_is_said(pair: Pair) -> None:
    found = talk(pair, "first")
    result = CliRunner().invoke(cli, ["sessions", "rm", found.id], input="n\n")
    assert (result.exit_code, f"kept {found.id}" in result.output) == (0, True)
    assert conversations.find().id == found.id


def test_a_question_taken_back_is_gone(pair: Pair) -> None:
    found = talk(pair, "first", "second")
    log = SessionLog(found)
    log.write(TakenBack())
    assert [turn.question for turn in saved.read(found.path).turns] == ["first"]


def test_another_pair_that_goes_on_is_the_one_taken_up_next_time(pair: Pair) -> None:
    found = talk(pair, "first")
    log = SessionLog(found)
    log.begin(pair.name, {})
    assert log._lines.unwritten == b""
    log.begin("builtin", {})
    log.write(TakenBack())
    after = saved.read(found.path)
    assert (after.header.pair, after.created) == ("builtin", found.created)


@pytest.mark.parametrize("thinking", ["auto", "none"])
def test_what_a_killed_process_has_written_is_all_there(open_pair: Open, thinking: str, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl"
    pair = open_pair(thinking=thinking)
    whole = talk(pair, "first").turns[0]
    lines = conversations.find().path.read_bytes().splitlines(keepends=True)
    for kept in range(2, len(lines)):
        cut.write_bytes(b"".join(lines[:kept]))
        (turn,) = saved.read(cut).turns
        assert turn.steps == whole.steps[: len(turn.steps)]
        assert whole.answer.startswith(turn.answer)
        session = restored(pair, turn)
        if session.can_resume:
            for _ in session.resume():
                pass
        # The tiny vocabularies cut a text another way than it was written, so the rest may be another one.
        ((_, answer),) = exchanges_of(session)
        assert answer.startswith(turn.answer)
        assert answer.count("boxed") == 1


def test_a_redo_that_was_killed_can_be_gone_on_with(pair: Pair) -> None:
    found = talk(pair, "first")
    log = SessionLog(found)
    log.write(Rewound(1))
    (turn,) = saved.read(found.path).turns
    assert (turn.finish, len(turn.steps), turn.answer) == (None, 1, "")


# The system message.


def test_a_system_message_comes_first_and_on_top_of_what_is_shown() -> None:
    system = "Be brief.\nUse words."
    path = write("x", HEADER, *turn_lines(0, system=system), *turn_lines(1, system=system))
    found = saved.read(path)
    assert [(message.role, message.content) for message in before_last(found)] == [
        ("system", system),
        ("user", "Question 0: how many?"),
        ("assistant", "The answer is \\boxed{0}."),
    ]
    shown = glimp("show", "x")
    assert "**System message**\n\n> Be brief.\n> Use words.\n\n## Question 0" in shown
    assert json.loads(glimp("export", "x", "--format", "json"))["system"] == system
    (first, _) = read_runs(path.read_bytes(), "x").runs
    assert first.system == system


def test_a_conversation_without_a_system_message_shows_none_nor_does_one_of_before_there_were_any() -> None:
    old = [line.replace(b',"system":null', b"") for line in turn_lines(0)]
    for lines in (turn_lines(0), old):
        found = saved.read(write("x", HEADER, *lines, *turn_lines(1)))
        assert (found.system, before_last(found)[0].role, found.damage) == (None, "user", None)
        assert "System" not in glimp("show", "x")
        assert json.loads(glimp("export", "x", "--format", "json"))["system"] is None
    assert old != turn_lines(0)


def test_a_system_message_whose_line_is_lost_is_known_from_another_question() -> None:
    second = turn_lines(1, system="Be brief.")
    path = write("x", HEADER, *turn_lines(0, system="Be brief."), b"?" + second[0], *second[1:])
    found = saved.read(path)
    assert before_last(found, Message("system", "Be brief."))[0] == Message("system", "Be brief.")


def test_ids_may_be_shortened_and_must_be_known_and_clear(pair: Pair) -> None:
    found = talk(pair, "first")
    assert conversations.find(found.id[:-1]).id == found.id
    assert conversations.find(found.id[-4:]).id == found.id
    assert conversations.find(found.id[5:12]).id == found.id
    assert conversations.find().id == found.id
    with pytest.raises(UsageError, match="no saved conversation has 'x' in its id"):
        conversations.find("x")
    found.path.with_name(found.id + "b.jsonl").write_bytes(found.path.read_bytes())
    with pytest.raises(UsageError, match=f"2 saved conversations have {found.id[:4]!r} in their ids: .*{found.id}"):
        conversations.find(found.id[:4])


def test_the_beginning_and_the_end_of_an_id_count_more_than_its_middle() -> None:
    for id_ in ("20261127-101126-aaaa", "20251126-000000-1126"):
        converse(id_, turns=1)
    assert conversations.named("1126").stem == "20251126-000000-1126"
    assert conversations.named("101126").stem == "20261127-101126-aaaa"


def test_a_file_of_another_kind_is_said_to_be_none(tmp_path: Path) -> None:
    for content in (b"", b"{}\n", b'{"type":"session"}\n', b"\xff\n"):
        (tmp_path / "x.jsonl").write_bytes(content)
        with pytest.raises(UsageError, match="cannot be restored"):
            saved.read(tmp_path / "x.jsonl")


def test_they_are_listed_shown_exported_and_removed(pair: Pair, tmp_path: Path) -> None:
    assert "no conversation was saved yet" in glimp("list")
    found = talk(pair, "What is it?", "And then?")
    assert found.id in glimp("list")
    assert "  small + large" in glimp("list")
    assert json.loads(glimp("list", "--json"))["title"] == "What is it?"
    shown = glimp("show")
    assert "## What is it?\n\nAnswer [ 3 ]\n\n## And then?" in shown
    assert shown.startswith("*small + large, ")  # its title is the first question, and stands there once
    assert "Third three." not in shown
    assert "> **L** 1.38 nats\n>\n> Third three." in glimp("show", found.id, "--thoughts")
    exported = json.loads(glimp("export", "--format", "json"))
    first = {"question": "What is it?", "answer": "Answer \\boxed{3}", "finish_reason": "done", "versions": 1}
    assert exported["turns"][0] == first
    assert json.loads(glimp("export", "--format", "json", "--thoughts"))["turns"][0]["steps"][2]["model"] == "large"
    glimp("export", "-o", str(tmp_path / "talk.md"))
    assert (tmp_path / "talk.md").read_text(encoding="utf-8") == shown.replace("[ 3 ]", "\\boxed{3}")
    assert "exists" in glimp("export", "-o", str(tmp_path / "talk.md"), code=2)
    assert "cannot be written: No such file" in glimp("export", "-o", str(tmp_path / "none" / "talk.md"), code=2)
    assert str(tmp_path / "talk.html") in glimp("export", "--format", "html", "-o", str(tmp_path / "talk.html"))
    assert "Third three." in (tmp_path / "talk.html").read_text(encoding="utf-8")
    glimp("rm", found.id, "--yes")
    assert "no conversation was saved yet" in glimp("list")
