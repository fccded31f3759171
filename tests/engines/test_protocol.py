"""What every implementation of a lane promises, asked of each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from glimp_local import load_pair
from glimp_local.engines.protocol import Backend, Lane, Piece, Stop
from glimp_local.errors import CancelledError, ContextFullError
from glimp_local.messages import Message
from glimp_local.settings import RunSettings, SamplingSettings, ThinkingMarkers
from tests.support.scripted import MARKERS, ScriptedBackend, ScriptedLane
from tests.support.sessions import QUESTION

GREEDY = RunSettings(sampling=SamplingSettings(temperature=0), draft="off")


class Sides:
    """Lanes of one backend."""

    def __init__(self, backend: Backend, text: Callable[[Lane], bytes], markers: ThinkingMarkers | None) -> None:
        self.backend = backend
        self.text = text
        self.markers = markers

    def begin(self, question: str = QUESTION) -> tuple[Lane, threading.Event]:
        cancel = threading.Event()
        lane = self.backend.lane(GREEDY, seed=1, cancel=cancel)
        lane.begin(lane.prepare([Message("user", question)], self.markers))
        return lane, cancel


@pytest.fixture(params=["scripted", "llama.cpp", "llama.cpp, recurrent"])
def sides(request: pytest.FixtureRequest, tiny: Path) -> Iterator[Sides]:
    if request.param == "scripted":

        def written(lane: Lane) -> bytes:
            assert isinstance(lane, ScriptedLane)
            return lane.text

        yield Sides(ScriptedBackend("model"), written, MARKERS)
        return
    from glimp_local.engines.llama.lane import LlamaLane  # noqa: PLC0415 - the other needs no llama.cpp

    def held(lane: Lane) -> bytes:
        assert isinstance(lane, LlamaLane)
        return lane.engine.vocabulary.text(lane.ids)

    name = "recurrent" if "recurrent" in request.param else "endless"
    with load_pair(small=tiny / f"{name}.gguf", policy="small", context=256) as pair:
        yield Sides(pair.backends["small"], held, pair.markers)


def write(lane: Lane, count: int) -> bytes:
    """Take this many pieces, and leave."""
    with closing(lane.write(100)) as pieces:
        return b"".join(next(pieces).raw for _ in range(count))


def test_the_transcript_holds_what_was_yielded_and_no_more(sides: Sides) -> None:
    lane, _ = sides.begin()
    before = sides.text(lane)
    said = write(lane, 3)
    assert sides.text(lane) == before + said
    said += write(lane, 2)
    assert sides.text(lane) == before + said


def test_a_prompt_knows_its_tokens_and_preparing_it_changes_nothing(sides: Sides) -> None:
    lane, _ = sides.begin()
    room = lane.room
    prompt = lane.prepare([Message("user", QUESTION), Message("assistant", "So."), Message("user", "Why?")], None)
    assert lane.room == room
    lane.begin(prompt)
    assert prompt.tokens == lane.context - lane.room


def test_at_most_as_much_as_was_asked_for_is_written(sides: Sides) -> None:
    lane, _ = sides.begin()
    stops: list[Stop] = []

    def written() -> Iterator[Piece]:
        stops.append((yield from lane.write(4)))

    assert sum(piece.tokens for piece in written()) == 4
    assert stops == ["most"]


def test_it_goes_back_to_a_mark_and_writes_the_same_again(sides: Sides) -> None:
    lane, _ = sides.begin()
    write(lane, 2)
    mark, text = lane.mark(), sides.text(lane)
    once = write(lane, 4)
    lane.append(b" and more")
    lane.cut(mark)
    assert sides.text(lane) == text
    assert write(lane, 4) == once


def test_a_cancel_comes_before_the_next_piece_and_it_continues_behind_the_last(sides: Sides) -> None:
    undisturbed, _ = sides.begin()
    expected = write(undisturbed, 5)
    lane, cancel = sides.begin()
    before = sides.text(lane)
    with closing(lane.write(100)) as pieces:
        said = next(pieces).raw + next(pieces).raw
        cancel.set()
        with pytest.raises(CancelledError):
            next(pieces)
    assert sides.text(lane) == before + said
    cancel.clear()
    assert said + write(lane, 3) == expected


def test_a_full_context_is_an_error_and_loses_nothing(sides: Sides) -> None:
    lane, _ = sides.begin()
    lane.append(b"word " * (lane.room // 8))
    while lane.room > 3:
        lane.append(b"x")
    text, said = sides.text(lane), b""
    pieces = lane.write(100)
    with suppress(ContextFullError):
        while True:
            said += next(pieces).raw
    assert said
    assert sides.text(lane) == text + said


def test_what_is_missed_is_counted_when_it_is_read(sides: Sides) -> None:
    lane, _ = sides.begin()
    lane.glimpse()
    assert lane.fed.tokens == 0
    lane.append(b"One step of somebody else.\n\n")
    assert lane.fed.tokens == 0
    lane.glimpse()
    assert lane.fed.tokens > 0


def test_a_glimpse_is_the_same_before_and_after_another_one(sides: Sides) -> None:
    lane, _ = sides.begin()
    once, narrow = lane.glimpse(), lane.glimpse(2)
    assert lane.glimpse() == once
    assert once.entropy_nats >= 0
    assert narrow != once or once.entropy_nats == 0


def test_two_lanes_of_one_model_write_as_if_each_were_alone(sides: Sides) -> None:
    alone = []
    for question in ("One?", "Two?"):
        lane, _ = sides.begin(question)
        alone.append(write(lane, 6))
    (one, _), (two, _) = sides.begin("One?"), sides.begin("Two?")
    said = [b"", b""]
    for _ in range(3):
        said[0] += write(one, 2)
        said[1] += write(two, 2)
    assert said == alone


def test_a_cancel_of_one_lane_does_not_reach_another(sides: Sides) -> None:
    one, cancel = sides.begin("One?")
    two, _ = sides.begin("Two?")
    write(one, 1)
    cancel.set()
    assert write(two, 3)
    with pytest.raises(CancelledError):
        write(one, 1)
