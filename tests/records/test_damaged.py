"""Conversations that are damaged: what can be restored is, what cannot is said, and no other one suffers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from glimp_local.events import Rewound, StepEnded, TakenBack, ThoughtEnded, encode
from glimp_local.records import conversations, saved
from glimp_local.records.lines import Header, decode
from glimp_local.records.session_log import SessionLog
from glimp_local.runs import LOST_QUESTION
from tests.support.chatting import chatting, played
from tests.support.damaged import HEADER, converse, glimp, steps_of, turn_lines, write
from tests.support.tracing import step


def line(event: object) -> bytes:
    return encode(event) + b"\n"


def turns(path: Path) -> list[tuple[str, str, int]]:
    return [(turn.asked, turn.answer, len(turn.steps)) for turn in saved.read(path).turns]


def whole(*numbers: int) -> list[tuple[str, str, int]]:
    return [(f"Question {n}: how many?", f"The answer is \\boxed{{{n}}}.", 4) for n in numbers]


NESTED = b'{"type":"notice","message":"","more":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n"


BAD_LINES = {
    "no JSON": (b"Dear diary\n", "JSON is malformed: invalid character (byte 0)"),
    "invalid UTF-8": (b'{"type":"notice","message":"\xff"}\n', "it is not UTF-8 text"),
    "nested": (NESTED, "it is nested too deep"),
    "another type": (b'{"type":"poem","lines":[]}\n', "this glimp knows no 'poem'"),
    "a type that is none": (b'{"type":["poem"]}\n', "Expected `str | null`, got `array` - at `$.type`"),
    "zeros": (bytes(5000) + b"\n", "JSON is malformed: invalid character (byte 0)"),
    "rewound too far": (line(Rewound(99)), "there is no step 99 to return to"),
    "rewound below 0": (line(Rewound(-1)), "there is no step -1 to return to"),
    "a header of version 0": (line(Header(0, "", "x")), "there is no version 0"),
    "half an event": (b'{"type":"step_ended","step":{"ind\n', "JSON is malformed: invalid character (byte 33)"),
}


# A bad line costs that line.


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_between_two_steps_costs_nothing_else_and_is_said(name: str) -> None:
    bad, reason = BAD_LINES[name]
    first, second = turn_lines(0), turn_lines(1)
    path = write("damaged", HEADER, *first, *second[:3], bad, *second[3:], *turn_lines(2))
    converse("healthy")
    os.utime(path, (1, 1))
    assert turns(path) == whole(0, 1, 2)
    said = f"glimp: 1 conversation is damaged: damaged, 3 of 3 turns restored (line 17: {reason})"
    assert glimp("sessions", "list").stderr == f"{said}. To remove one: glimp sessions rm ID\n"
    for command, answer in (("show", "[ 1 ]"), ("export", "\\boxed{1}")):
        result = glimp("sessions", command, "damaged")
        assert result.stderr == f"{said}\n"
        assert f"## Question 1: how many?\n\nThe answer is {answer}." in result.stdout
        assert glimp("sessions", command, "healthy").stderr == ""


@pytest.mark.parametrize(
    ("lost", "kept", "is_whole"),
    [
        (0, (LOST_QUESTION, "The answer is \\boxed{1}.", 4), False),
        (1, whole(1)[0], True),  # step_started
        (2, (whole(1)[0][0], whole(1)[0][1], 3), False),
        (7, whole(1)[0], True),  # thought_ended
        (9, (whole(1)[0][0], "", 3), False),
        (10, whole(1)[0], False),  # answer: nothing is missing, but who knows
        (11, whole(1)[0], False),  # finished
    ],
)
def test_each_line_of_a_turn_that_is_lost_costs_what_it_held(
    lost: int, kept: tuple[str, str, int], is_whole: bool
) -> None:
    middle = turn_lines(1)
    middle[lost] = b"\xff" + middle[lost]
    path = write("damaged", HEADER, *turn_lines(0), *middle, *turn_lines(2))
    assert turns(path) == [*whole(0), kept, *whole(2)]
    assert str(saved.read(path).damage).startswith(f"{2 + is_whole} of 3 turns restored (line {14 + lost}: ")


def test_the_steps_behind_a_lost_one_are_numbered_as_they_are_restored() -> None:
    middle = turn_lines(1)
    middle[4] = b"?\n"
    found = saved.read(write("damaged", HEADER, *middle))
    assert [each.index for each in found.turns[0].steps] == [0, 1, 2]
    assert [each.text for each in found.turns[0].steps] == [each.text for each in steps_of(1) if each.index != 1]


def test_a_question_lost_together_with_the_end_of_the_turn_before_begins_a_turn_all_the_same() -> None:
    first, second = turn_lines(0), turn_lines(1)
    merged = first[-1][:-1] + b"\x0b" + second[0]  # the newline between them has flipped
    path = write("damaged", HEADER, *first[:-1], merged, *second[1:], *turn_lines(2))
    assert turns(path) == [*whole(0), (LOST_QUESTION, "The answer is \\boxed{1}.", 4), *whole(2)]
    assert saved.read(path).turns[0].finish is None


def test_a_lost_block_in_two_turns_leaves_the_steps_of_both_with_their_own_turn() -> None:
    first, second = turn_lines(0), turn_lines(1)
    path = write("damaged", HEADER, *first[:7], bytes(900) + b"\n", *second[3:], *turn_lines(2))
    assert [count for _, _, count in turns(path)] == [3, 3, 4]
    assert turns(path)[1][:2] == (LOST_QUESTION, "The answer is \\boxed{1}.")


def test_a_lost_block_within_a_turn_costs_the_steps_in_it() -> None:
    lines = turn_lines(1)
    path = write("damaged", HEADER, *turn_lines(0), *lines[:1], bytes(900), *lines[5:], *turn_lines(2))
    assert turns(path) == [*whole(0), (*whole(1)[0][:2], 2), *whole(2)]
    assert str(saved.read(path).damage).startswith("2 of 3 turns restored")


def test_a_redo_whose_beginning_is_lost_still_voids_what_it_has_replaced() -> None:
    again = [step(1, reason="redo", text="Again.\n\n"), step(2, part="answer", reason="answer", text="Five.")]
    lines = [line(StepEnded(each)) for each in again]
    for lost in (line(Rewound(1)), b"?\n"):
        path = write("damaged", HEADER, *turn_lines(0), lost, *lines)
        assert turns(path) == [("Question 0: how many?", "Five.", 3)]


def test_a_question_that_is_lost_is_the_one_that_is_taken_back() -> None:
    lost = turn_lines(1)
    lost[0] = b"?\n"
    assert turns(write("a", HEADER, *turn_lines(0), *lost, line(TakenBack()))) == whole(0)
    assert turns(write("b", HEADER, *turn_lines(0), lost[0], lost[-1], line(TakenBack()))) == whole(0)
    assert turns(write("c", HEADER, *turn_lines(0), lost[0], line(TakenBack()))) == whole(0)


@pytest.mark.parametrize("left", [1, -1], ids=["its first step begun", "its end"])
@pytest.mark.parametrize("takes_back", [True, False])
def test_a_turn_of_which_nothing_is_restored_is_not_the_one_that_is_taken_back_or_redone(
    left: int, takes_back: bool
) -> None:
    path = write("damaged", HEADER, *turn_lines(0), *turn_lines(1), b"?\n", turn_lines(2)[left])
    log = SessionLog(saved.read(path))
    for added in [line(TakenBack()), turn_lines(3)[0]] if takes_back else [line(Rewound(1))]:
        log.write(decode(added))  # type: ignore[arg-type]  # it is an event
    log.close()
    behind = ("Question 3: how many?", "", 0) if takes_back else ("Question 1: how many?", "", 1)
    assert turns(path) == [*whole(0), behind]


def test_a_wrong_number_in_a_step_moves_none() -> None:
    lines = turn_lines(0)
    for number in (b"7", b"0", b"123456789012345678901234567890"):
        changed = [each.replace(b'"index":2', b'"index":' + number) for each in lines]
        found = saved.read(write("damaged", HEADER, *changed))
        assert [each.index for each in found.turns[0].steps] == [0, 1, 2, 3]


# An order that cannot be.


FIRST = {
    "step_ended": line(StepEnded(step(0, text="Lost?\n\n"))),
    "rewound": line(Rewound(0)),
    "thought_ended": line(ThoughtEnded("closed")),
    "taken_back": line(TakenBack()),
    "finished": turn_lines(0)[-1],
}


@pytest.mark.parametrize("name", FIRST)
def test_what_stands_before_the_first_question_is_said_and_the_rest_restored(name: str) -> None:
    path = write("damaged", HEADER, FIRST[name], *turn_lines(0))
    assert turns(path)[-1:] == whole(0)
    assert "(line 2: " in str(saved.read(path).damage)
    assert ("Lost?" in glimp("sessions", "show", "--thoughts").stdout) == (name == "step_ended")
    glimp("trace", "damaged")


def test_a_thought_behind_an_answer_is_of_a_question_that_is_missing() -> None:
    path = write("damaged", HEADER, *turn_lines(0), *turn_lines(1)[1:])
    assert turns(path) == [*whole(0), (LOST_QUESTION, "The answer is \\boxed{1}.", 4)]
    assert "the question before it is missing" in str(saved.read(path).damage)


@pytest.mark.parametrize("question", ["", " \n\t ", "\x1c"])
def test_a_blank_first_question_has_no_title(question: str) -> None:
    write("blank", HEADER, *turn_lines(0, question))
    assert json.loads(glimp("sessions", "list", "--json").stdout)["title"] == ""
    assert glimp("sessions", "show").stdout.startswith("# blank\n")
    assert "remove blank ()?" in glimp("sessions", "rm", "blank", typed="n\n").output


# Headers.


@pytest.mark.parametrize("first", [[], [b"?\n"], [re.sub(rb'"version":(\d+)', rb'"version":"\1"', HEADER)]])
def test_without_a_header_the_turns_are_restored_and_the_question_says_who_was_asked(first: list[bytes]) -> None:
    path = write("20260203-040506-abcd", *first, *turn_lines(0), *turn_lines(1))
    assert turns(path) == whole(0, 1)
    found = saved.read(path)
    assert (found.header.pair, found.created) == ("builtin", "2026-02-03T04:05:06+00:00")
    assert found.damage is not None
    assert found.damage.startswith("2 of 2 turns restored (")
    path.rename(path.with_name("mine.jsonl"))
    assert conversations.find("mine").created.startswith("20")


@pytest.mark.parametrize("at", [0, 13])
def test_a_conversation_of_a_newer_glimp_is_refused_in_words(at: int) -> None:
    lines = [HEADER, *turn_lines(0), *turn_lines(1)]
    lines.insert(at, line(Header(99, "2030-01-01T00:00:00+00:00", "x")))
    write("newer", *lines)
    reason = "was written by a newer glimp (version 99, and this one reads version 2)"
    for command in (["sessions", "show", "newer"], ["chat", "--resume", "newer"]):
        result = glimp(*command, code=2)
        assert f"glimp: the conversation newer cannot be restored: it {reason}" in result.stderr
        assert "hint: update glimp-local" in result.stderr
    assert f"newer {reason}" in glimp("trace", "newer", code=2).stderr
    assert f"1 conversation cannot be restored: newer, it {reason}" in glimp("sessions", "list").stderr


# The end of a file.


def test_a_line_cut_anywhere_is_left_out_silently_and_written_over() -> None:
    lines = [HEADER, *turn_lines(0)]
    for last in (lines[2], lines[3], lines[-1]):
        for length in range(1, len(last) - 1, 7):
            path = write("cut", *lines, last[:length])
            found = saved.read(path)
            assert (found.damage, len(found.turns)) == (None, 1), last[:length]
            log = SessionLog(found)
            log.write(TakenBack())
            log.close()
            assert path.read_bytes() == b"".join([*lines, line(TakenBack())])


@pytest.mark.parametrize("tail", [b"?", b"\x00" * 300, turn_lines(0)[-1][:-1] + b"\x0b", b"\xff\xfe"])
def test_what_is_damaged_at_the_end_is_not_written_over(tail: bytes) -> None:
    path = write("damaged", HEADER, *turn_lines(0), tail)
    before = path.read_bytes()
    log = SessionLog(saved.read(path))
    for each in turn_lines(1):
        log.write(decode(each))  # type: ignore[arg-type]  # they are events
    log.write(TakenBack())
    log.close()
    assert path.read_bytes().startswith(before + b"\n")
    assert turns(path) == whole(0)
    assert saved.read(path).damage is not None


def test_an_event_without_its_newline_counts_and_what_comes_next_begins_a_line() -> None:
    path = write("damaged", HEADER, *turn_lines(0), turn_lines(1)[0][:-1])
    found = saved.read(path)
    assert (found.damage, len(found.turns)) == (None, 2)
    log = SessionLog(found)
    log.write(TakenBack())
    log.close()
    assert turns(path) == whole(0)


def test_a_damaged_conversation_is_continued_and_its_damaged_lines_stay() -> None:
    lines = turn_lines(1)
    lines[2] = lines[2].replace(b"First", b"F\xffrst")
    path = write("damaged", HEADER, *turn_lines(0), *lines)
    before = path.read_bytes()
    log = SessionLog(saved.read(path))
    log.begin("builtin", {})
    # The chat holds three steps of that turn, 0 to 2, and has the last of them written again.
    log.write(Rewound(2))
    log.write(StepEnded(step(2, part="answer", reason="redo", text="Again.")))
    log.close()
    assert path.read_bytes().startswith(before)
    assert [each.text for each in saved.read(path).turns[1].steps] == [
        *(each.text for each in steps_of(1)[1:3]),
        "Again.",
    ]


@played
async def test_a_chat_shows_what_is_left_says_what_is_not_and_continues(small: Path, large: Path) -> None:
    lines = turn_lines(1)
    lines[0], lines[4] = b"\xff\n", NESTED
    path = write("damaged", HEADER, *turn_lines(0), *lines)
    async with chatting(small, large, going_on=conversations.find()) as chat:
        await chat.until(lambda: len(chat.turns) == 2)
        assert chat.notices == ["This conversation is damaged: 1 of 2 turns restored (line 14: it is not UTF-8 text)"]
        assert LOST_QUESTION in chat.screen
        await chat.ask("third")
    assert [question for question, _, _ in turns(path)] == ["Question 0: how many?", LOST_QUESTION, "third"]
    assert turns(path)[2][1] == "Answer \\boxed{3}"
