"""Saved conversations hold the versions of their turns; those of an earlier glimp gain theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glimp_local.events import (
    Answer,
    AnyEvent,
    Finished,
    Rewound,
    Selected,
    Started,
    StepEnded,
    StepStarted,
    TakenBack,
    encode,
)
from glimp_local.records import saved
from glimp_local.records.session_log import SessionLog
from tests.support.damaged import HEADER, STATS, glimp, turn_lines, write
from tests.support.tracing import step


def turn(question: str, id_: str | None) -> list[AnyEvent]:
    """Return the events of a turn of two steps."""
    return [Started(question, "builtin", "threshold", 1, "small", "large", True, 20, turn=id_), *written(question, 0)]


def written(text: str, index: int, reason: str = "confident") -> list[AnyEvent]:
    """Return the events of a turn from one of its two steps on."""
    steps = [step(0, text=f"{text} 0.\n\n"), step(1, part="answer", reason="answer", text=f"{text} 1.")]
    steps[index] = step(index, part=steps[index].part, reason=reason, text=steps[index].text)
    events: list[AnyEvent] = []
    for each in steps[index:]:
        events.append(StepStarted(**{name: getattr(each, name) for name in StepStarted.__struct_fields__}))
        events.append(StepEnded(each))
    return [*events, Answer(f"{text} 1.", None), Finished("done", "closed", STATS)]


# Two turns; the answer of the second written again; another question in place of the first; then back to the beginning.
EVENTS = [
    *turn("a", "1"),
    *turn("b", "2"),
    Rewound(1, "3", "2"),
    *written("B", 1, "redo"),
    TakenBack("1"),
    *turn("c", "4"),
    Selected("2"),
    *turn("d", "5"),
]
LINES = [HEADER, *(encode(event) + b"\n" for event in EVENTS)]
ALL = {"1": "a 0. a 1.", "2": "b 0. b 1.", "3": "b 0. B 1.", "4": "c 0. c 1.", "5": "d 0. d 1."}


def texts(found: saved.SavedSession) -> dict[str, str]:
    """Return what was written to each version."""
    versions = found.tree.versions.items()
    return {id_: " ".join("".join(step.text for step in run.steps).split()) for id_, run in versions}


def ids(found: saved.SavedSession) -> list[str]:
    return [run.turn for run in found.turns]


def of_an_earlier_glimp(*events: AnyEvent) -> list[bytes]:
    """Return lines without what that glimp did not write."""
    lines = [encode(event) + b"\n" for event in events]
    return [line.replace(b',"turn":null', b"").replace(b',"of":null', b"") for line in lines]


def test_all_versions_are_read_back_and_the_one_chosen_last_is_continued() -> None:
    found = saved.read(write("x", *LINES))
    assert (ids(found), texts(found), found.damage) == (["1", "2", "5"], ALL, None)
    assert [run.turn for run in found.tree.siblings(found.turns[0])] == ["1", "4"]
    assert [run.turn for run in found.tree.siblings(found.turns[1])] == ["2", "3"]


def test_only_the_versions_chosen_are_shown_exported_and_traced() -> None:
    write("x", *LINES)
    shown = glimp("sessions", "show").stdout
    assert "## a\n\n*version 1 of 2*\n\na 1.\n\n## b\n\n*version 1 of 2*\n\nb 1.\n\n## d\n\nd 1.\n" in shown
    assert not {"B 1.", "c 1."} & set(shown.splitlines())
    exported = json.loads(glimp("sessions", "export", "--format", "json").stdout)
    assert [(each["answer"], each["versions"]) for each in exported["turns"]] == [("a 1.", 2), ("b 1.", 2), ("d 1.", 1)]
    assert json.loads(glimp("sessions", "list", "--json").stdout)["turns"] == 3
    traced = glimp("trace", "x", "--json").stdout.splitlines()
    assert [json.loads(line)["answer"] for line in traced] == ["a 1.", "b 1.", "d 1."]


def test_a_file_of_an_earlier_glimp_gains_its_versions_and_is_continued_behind_one_of_them() -> None:
    events = [*turn("a", None), *turn("b", None), Rewound(1), *written("B", 1, "redo"), TakenBack(), *turn("c", None)]
    path = write("x", HEADER, *of_an_earlier_glimp(*events))
    found = saved.read(path)
    assert b'"turn"' not in path.read_bytes()
    assert found.damage is None
    first, replaced, redone, last = texts(found)
    assert list(texts(found).values()) == [ALL["1"], ALL["2"], ALL["3"], ALL["4"]]
    assert ids(found) == [first, last]
    log = SessionLog(found)
    for event in (Selected(replaced), *turn("d", "5"), Rewound(1, "6", redone), *written("A", 1, "redo")):
        log.write(event)
    log.close()
    again = saved.read(path)
    assert (again.damage, ids(again)) == (None, [first, "6"])
    assert again.tree.end_of(again.tree.versions[replaced]).turn == "5"
    assert texts(found).items() <= texts(again).items()


@pytest.mark.parametrize("lost", range(1, len(LINES)))
def test_a_line_that_is_lost_costs_no_version_but_what_it_held(lost: int) -> None:
    path = write("x", *LINES[:lost], b"?" + LINES[lost], *LINES[lost + 1 :])
    found = saved.read(path)
    assert found.damage is not None
    event = EVENTS[lost - 1]
    written_there = {each.step.text for each in EVENTS if isinstance(each, StepEnded) and each is not event}
    assert {each.text for run in found.tree.versions.values() for each in run.steps} >= written_there
    if not isinstance(event, Selected | TakenBack | Rewound):  # all stand where they stood
        assert len(found.tree.versions) == len(ALL)
        assert [run.answer for run in found.turns][-1] == ("" if event == EVENTS[-3] else "d 1.")
        assert len(found.turns) == 3
    # A chat that continues it finds all of it there again.
    log = SessionLog(found)
    log.begin("builtin", {})
    for each in turn("e", "7"):
        log.write(each)
    log.close()
    again = saved.read(path)
    assert ids(again) == [*ids(found), "7"]
    assert texts(found).items() <= texts(again).items()


def test_a_version_whose_question_is_lost_is_the_one_that_other_lines_name() -> None:
    lines = [HEADER, *turn_lines(0), *(encode(event) + b"\n" for event in turn("b", "2"))]
    lines[len(turn_lines(0)) + 1] = b"?\n"
    more = [Rewound(1, "3", "2"), *written("B", 1, "redo"), Selected("2"), *turn("c", "4")]
    found = saved.read(write("x", *lines, *(encode(event) + b"\n" for event in more)))
    assert [run.answer for run in found.turns] == ["The answer is \\boxed{0}.", "b 1.", "c 1."]
    assert [run.answer for run in found.tree.siblings(found.turns[1])] == ["b 1.", "B 1."]


def test_a_version_that_no_line_begins_is_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join([*LINES, encode(Selected("9")) + b"\n"]))
    found = saved.read(path)
    assert ids(found) == ["1", "2", "5"]
    assert found.damage == f"3 of 3 turns restored (line {len(LINES) + 1}: there is no version '9' of a turn)"
