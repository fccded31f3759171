"""Writing one step: the token loop, the cutting of its text, and the hand-over to the other model.

Knows nothing of routing: it is told who writes. Whatever stops it (the end of the step, a cancel, a full context, a
failure, a reader who walks away), the draft holds what was written.
"""

from __future__ import annotations

import codecs
import threading
from collections.abc import Iterator, Mapping
from time import perf_counter

from glimp_local.engines.llama.lane import Lane
from glimp_local.errors import CancelledError, ContextFullError, DecodeError
from glimp_local.events import StepEnd, Text
from glimp_local.pair import Pair
from glimp_local.routing import Model
from glimp_local.session.steps import Slice, StepMachine
from glimp_local.session.turn import Draft, Position, Turn


class StepWriter:
    """Writes steps with a pair's models into both transcripts. `cancel` and `answer_now` stop it before a token."""

    def __init__(
        self, pair: Pair, lanes: Mapping[Model, Lane], *, cancel: threading.Event, answer_now: threading.Event
    ) -> None:
        self._pair = pair
        self._lanes = lanes
        self._cancel = cancel
        self._answer_now = answer_now

    def write(self, turn: Turn, lane: Lane, draft: Draft) -> Iterator[Text]:
        """Write one step and tell its text. `draft` holds what was written, whenever it stops."""
        position = turn.position
        limit, limit_end = self._limit(position, lane)
        machine = position.machine if self._splits(position) else StepMachine()
        splits = machine is position.machine
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        carried, position.carry = decoder.decode(position.carry), b""
        # Behind the thought a second marker is no part of the answer.
        markers = self._pair.markers if position.part == "answer" else None
        unwanted = markers and markers.close.encode()
        ending: StepEnd | None = None
        for piece in self._generate(turn, lane, draft):
            inside, boundary = b"" if piece == unwanted else piece, None
            if splits and inside:
                inside, boundary, position.carry = _split(machine.feed(piece))
            text, carried = carried + decoder.decode(inside, final=boundary == "thought_end"), ""
            ending = boundary or ending or (limit_end if len(draft.tokens) >= limit else None)
            draft.half = len(decoder.getstate()[0])
            # Neither a character nor what may become the closing marker is cut in two.
            over = ending is not None and not (draft.half or machine.holds)
            if ending is not None and over:
                draft.end = ending
            if event := self._tell(position, draft, text):
                yield event
            if over:
                return
        if draft.end != "cancelled":
            text = carried + decoder.decode(machine.flush())
            if event := self._tell(position, draft, text):
                yield event

    def _generate(self, turn: Turn, lane: Lane, draft: Draft) -> Iterator[bytes]:
        """Sample tokens into `draft` and yield the text of each: the token loop. `draft.end` says why it stops."""
        engine, thinking = lane.engine, turn.position.part == "thought"
        reader = self._reader(lane)
        ends, piece_of = engine.vocabulary.ends, engine.vocabulary.piece
        try:
            draft.fed += lane.begin_step()
            while not (self._cancel.is_set() or (thinking and self._answer_now.is_set())):
                if draft.tokens:
                    lane.advance()
                decoded = perf_counter()
                token = engine.sample()
                sampled = perf_counter()
                lane.sample_seconds += sampled - decoded
                if token in ends:
                    draft.end = "end_of_generation"
                    return
                lane.write(token)
                draft.tokens.append(token)
                if turn.seconds_to_first_token is None:
                    turn.seconds_to_first_token = sampled - turn.began
                if reader is not None and not (lane.drafts and lane.drafts.by_model):
                    reader.read_along(draft.tokens if self._pair.shares_vocabulary else ())
                piece = piece_of(token)
                draft.raw += piece
                yield piece
            draft.end = "cancelled" if self._cancel.is_set() else "user"
        except CancelledError:
            draft.end = "cancelled"
        except ContextFullError:
            draft.end = "context_full"
        except DecodeError as error:
            draft.end, turn.failure = "failed", str(error)

    def _reader(self, writer: Lane) -> Lane | None:
        """Give the lane that reads along while another one writes; None where it is to wait for its turn."""
        if not self._pair.reads_along:
            return None
        return next((lane for lane in self._lanes.values() if lane is not writer and lane.engine.keeps_past), None)

    def _tell(self, position: Position, draft: Draft, text: str) -> Text | None:
        """Take note of new text; give the event that tells it, if there is anything to tell."""
        if position.part != "thought":
            text = text if position.answer else text.lstrip()
            position.answer += text
        if not text:
            return None
        draft.text += text
        return Text(draft.started.index, position.part, text)

    def hand_over(self, writer: Lane, draft: Draft) -> None:
        """Put what was written into the other model's transcript: token ids where it knows them, else text."""
        draft.drop_half_a_character(writer)
        if self._pair.closed:
            return
        for lane in self._lanes.values():
            if lane is not writer:
                # Of two vocabularies that count as one, the larger may have padding on top.
                known = max(draft.tokens, default=0) < lane.engine.vocabulary.size
                shared = self._pair.shares_vocabulary and known
                lane.ids.extend(draft.tokens if shared else lane.prompts.handed_over(bytes(draft.raw)))

    def thought_room(self) -> int:
        """Count the tokens left for the thought when the answer's room is set aside."""
        lanes, wanted = self._lanes.values(), self._pair.config.max_answer
        return min(lane.room - min(wanted, lane.engine.context // 4) for lane in lanes)

    def _limit(self, position: Position, lane: Lane) -> tuple[int, StepEnd]:
        """Give the most tokens the step may have, and what its end is then."""
        config = self._pair.config
        if position.part == "thought":
            budget, room = config.max_thought, self.thought_room()
        else:
            budget, room = config.max_answer, lane.room
        limits: list[tuple[int, StepEnd]] = [(budget - position.written, "budget"), (room, "context_full")]
        if self._splits(position):
            limits.append((config.max_step, "cap"))
        return min(limits)

    def _splits(self, position: Position) -> bool:
        """Is this part written step by step? The answer is one step, unless it is routed."""
        return position.part != "answer" or self._pair.config.answer_by == "route"


def _split(slices: list[Slice]) -> tuple[bytes, StepEnd | None, bytes]:
    """Give a token's text in this step, the boundary in it, and the text it has behind the end of the thought.

    A decision can only be taken between two tokens: what a token has behind a blank line still belongs to the step.
    """
    texts = [part.text for part in slices]
    for i, part in enumerate(slices):
        if part.boundary == "thought_end":
            return b"".join(texts[: i + 1]), "thought_end", b"".join(texts[i + 1 :])
    return b"".join(texts), next((part.boundary for part in slices if part.boundary), None), b""
