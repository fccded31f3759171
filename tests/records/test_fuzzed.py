"""Whatever bit of a conversation's file flips, all others are there, and of it what stands before and behind.

    GLIMP_FUZZ_CASES=3000 python -m pytest -s tests/records/test_fuzzed.py

tries 3,000 flips and prints the counts; without it there are 300. They are always the same.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from typing import Any

import pytest
from click.testing import CliRunner, Result

from glimp_local.cli import cli
from glimp_local.cli.session_rows import Rows
from glimp_local.events import Rewound, Selected, Started, Step, StepEnded, TakenBack, ThoughtEnded, encode
from glimp_local.records import conversations, saved
from glimp_local.records.exports import as_json, as_markdown, summary
from glimp_local.records.lines import decode
from glimp_local.records.listing import Entry
from glimp_local.records.saved import SavedSession
from glimp_local.records.session_log import SessionLog
from glimp_local.runs import Run
from tests.support.damaged import HEADER, converse, turn_lines, write
from tests.support.tracing import step

pytestmark = pytest.mark.fuzz
CASES = int(os.environ.get("GLIMP_FUZZ_CASES", "300"))
TURNS = 5


def glimp(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def ids(turn: Run) -> tuple[object, ...]:
    return turn.asked, turn.answer, len(turn.steps), turn.finish


def lines_of_turns(lines: list[bytes]) -> list[int]:
    """Return the turn each line belongs to; -1 for the header."""
    turns, turn = [], -1
    for line in lines:
        turn += b'"type":"started"' in line
        turns.append(turn)
    return turns


def steps_in(line: bytes) -> list[Step]:
    record = decode(line)
    return [record.step] if isinstance(record, StepEnded) else []


def texts_of(session: SavedSession) -> set[str]:
    return {step.text for turn in session.turns for step in turn.steps}


def test_a_flipped_bit_costs_no_other_conversation_and_no_other_turn() -> None:
    healthy = converse("healthy", turns=2)
    victim = converse("victim", turns=TURNS)
    whole, content = saved.read(victim), bytearray(victim.read_bytes())
    untouched = saved.read(healthy)
    lines = bytes(content).splitlines(keepends=True)
    turns, starts = lines_of_turns(lines), [sum(map(len, lines[:n])) for n in range(len(lines))]
    drawn, counts = random.Random(1), Counter[str]()
    for case in range(CASES):
        bit = drawn.randrange(len(content) * 8)
        at = bit // 8
        turn = turns[max(n for n, start in enumerate(starts) if start <= at)]
        content[at] ^= 1 << bit % 8
        victim.write_bytes(content)
        content[at] ^= 1 << bit % 8
        os.utime(victim, (2_000_000_000 + case,) * 2)  # it is the last one written to
        found = {each.id: each for each in conversations.scan()}
        assert found["healthy"] == untouched
        after = found["victim"]
        if isinstance(after, SavedSession):
            others = [ids(each) for number, each in enumerate(whole.turns) if number != turn]
            kept = [ids(each) for each in after.turns]
            # In order, and with nothing between them but what is left of the one that was hit.
            before, behind = others[: max(turn, 0)], others[max(turn, 0) :]
            all_there = kept[: len(before)] == before and (not behind or kept[-len(behind) :] == behind)
            all_there = all_there and len(kept) <= TURNS
            counts["the others whole" if all_there else "others lost"] += 1
            # Of the turn that was hit, all steps are there but those of the lines that were.
            hit = [n for n, start in enumerate(starts) if start <= at <= start + len(lines[n])]
            texts = {step.text for n, line in enumerate(lines) if n not in hit for step in steps_in(line)}
            counts["of steps, only what was hit" if texts <= texts_of(after) else "more steps lost"] += 1
            counts["said" if after.damage else "not noticed"] += 1
        else:
            counts["nothing restored"] += 1
        if case % 10 == 0 or not isinstance(after, SavedSession):
            listed = glimp("sessions", "list", "--json")
            assert [json.loads(line)["damage"] is None for line in listed.stdout.splitlines()][1:] == [True]
            assert glimp("sessions", "show", "victim").exit_code == (0 if isinstance(after, SavedSession) else 2)
            assert glimp("sessions", "export", "healthy", "--format", "json").exit_code == 0
            assert glimp("trace", "victim").exit_code == (0 if isinstance(after, SavedSession) else 2)
            assert conversations.find().id == ("victim" if isinstance(after, SavedSession) else "healthy")
            counts["looked at with glimp"] += 1
    print(f"\n{CASES} flips in {len(content):,} bytes: {dict(counts)}")  # noqa: T201 - the counts are the point
    assert counts["the others whole"] >= 0.95 * CASES
    assert counts["of steps, only what was hit"] >= 0.95 * CASES


def goes_on(after: SavedSession, drawn: random.Random) -> tuple[list[Any], list[tuple[object, ...]]]:
    """Return what a chat that takes a conversation up may write, and the turns that there are then."""
    asked, tree = Started("And then?", "builtin", "threshold", 1, "small", "large", True, 20, turn="new"), after.tree
    events: list[Any] = []
    if tree.versions and drawn.random() < 1 / 2:  # it goes to another version first
        tree.go_to(drawn.choice(list(tree.versions)))
        events.append(Selected(str(tree.at)))
    turns = tree.runs
    # What an earlier glimp has written names no version; of this one, the last turn is named, or one before it.
    at = drawn.choice(range(len(turns))) if turns and drawn.random() < 1 / 2 else len(turns) - 1
    named = turns[at].turn if turns and (at < len(turns) - 1 or drawn.random() < 1 / 2) else None
    ways = ["asks", *(["asks instead"] if turns else []), *(["redoes"] if turns and turns[at].steps else [])]
    match drawn.choice(ways):
        case "asks":
            return [*events, asked], [*map(ids, turns), (asked.question, "", 0, None)]
        case "asks instead":
            return [*events, TakenBack(named), asked], [*map(ids, turns[:at]), (asked.question, "", 0, None)]
        case _:
            index = drawn.randrange(len(turns[at].steps))
            again = step(index, reason="redo", text="Again.")
            kept = Run(turns[at].question, steps=[*turns[at].steps[:index], again])
            events += [Rewound(index, "new", named), StepEnded(again)]
            return events, [*map(ids, turns[:at]), ids(kept)]


def test_events_in_whatever_order_are_restored_or_refused_in_words() -> None:
    healthy = saved.read(converse("healthy"))
    lines = [HEADER, *(line for turn in range(2) for line in turn_lines(turn))]
    asked = Started("And?", "builtin", "threshold", 1, "small", "large", True, 20, turn="a")
    of_versions = (
        Rewound(1),
        Rewound(9),
        Rewound(0, "b", "a"),
        TakenBack(),
        TakenBack("a"),
        Selected("a"),
        Selected("b"),
    )
    lines += [encode(event) + b"\n" for event in (asked, *of_versions, ThoughtEnded("user"))]
    drawn = random.Random(2)
    for _ in range(CASES):
        chosen = drawn.choices([*lines, b"?\n", b"\n"], k=drawn.randrange(1, 30))
        path = write("victim", *chosen)
        found = {each.id: each for each in conversations.scan()}
        assert found["healthy"] == healthy
        after = found["victim"]
        if isinstance(after, SavedSession):
            as_markdown(after, thoughts=True)
            as_json(after, thoughts=True)
            for turn in after.tree.versions.values():
                assert [step.index for step in turn.steps] == list(range(len(turn.steps)))
            before = after.tree.copy()
            # What a chat adds, takes back or has written again is read back behind what it restored.
            events, expected = goes_on(after, drawn)
            log = SessionLog(after)
            log.begin("builtin", {})
            for event in events:
                log.write(event)
            log.close()
            found_again = saved.read(path)
            assert [ids(turn) for turn in found_again.turns] == expected
            assert {turn: ids(run) for turn, run in before.versions.items()}.items() <= {
                turn: ids(run) for turn, run in found_again.tree.versions.items()
            }.items()
        summary(after)
        Rows([after.id], on_terminal=True).row(Entry.of(after))
        glimp("trace", "victim", "--full")
