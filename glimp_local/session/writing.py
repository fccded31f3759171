"""Writing one step: a lane's pieces cut into the step's text, and handed over to the other model.

Knows nothing of routing: the writer is given. Whatever stops it (the end of the step, a cancel, a full context, a
failure, a reader who walks away), the draft holds what was written.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from time import perf_counter

from glimp_local.engines.protocol import Lane, Piece
from glimp_local.errors import CancelledError, ContextFullError, DecodeError
from glimp_local.events import StepEnd, Text
from glimp_local.routing import Model
from glimp_local.session.repetition import RepetitionDetector
from glimp_local.session.steps import Slice
from glimp_local.session.transcript import Transcript
from glimp_local.session.turn import Draft, Position, Turn
from glimp_local.settings import RunSettings


class StepWriter:
    """Writes steps into a transcript. `answer_now` stops it before a token, as the lanes' own cancel does.

    With `reads_along` a model reads what the other one writes at once, and not when its turn comes. With `keeps_blanks`
    the blanks that an answer begins with are a part of it.
    """

    def __init__(
        self,
        transcript: Transcript,
        settings: RunSettings,
        answer_now: threading.Event,
        *,
        reads_along: bool,
        keeps_blanks: bool,
    ) -> None:
        self._transcript = transcript
        self._settings = settings
        self._answer_now = answer_now
        self._reads_along = reads_along
        self._keeps_blanks = keeps_blanks

    def write(self, turn: Turn, writer: Model, draft: Draft) -> Iterator[Text]:
        """Write one step and yield its text. `draft` holds what was written, whenever it stops."""
        position, lane, close = turn.position, self._transcript.lanes[writer], self._transcript.close
        limit, limit_end = self._limit(position, lane)
        machine, splits = position.machine, self._splits(position)
        repetition = RepetitionDetector()
        carried, position.carry = position.carry.decode("utf-8", "replace"), b""
        # Behind the thought a second marker is no part of the answer.
        unwanted = close if position.part == "answer" else None
        # What may become the closing marker is written to its end, beyond the limit.
        most = max(limit, 1) + len(close or b"")
        ending: StepEnd | None = None
        with closing(self._pieces(turn, writer, draft, (most, limit_end))) as pieces:
            for piece in pieces:
                inside, boundary = b"" if piece.raw == unwanted else piece.raw, None
                slices = machine.feed(inside)
                if splits and inside:
                    inside, boundary, position.carry = _split(slices)
                ending = boundary or ending
                if ending is None and repetition.notices(draft.raw, in_code=machine.in_code):
                    # What is held back has been repeated, too, and has not become the marker.
                    ending, inside = "repetition", inside + machine.flush()
                text, carried = carried + inside.decode("utf-8", "replace"), ""
                if ending is None and draft.tokens >= limit:
                    ending = limit_end
                over = ending is not None and not machine.holds
                if ending is not None and over:
                    draft.end = ending
                if event := self._tell(position, draft, text):
                    yield event
                if over:
                    return
        if draft.end != "cancelled":
            text = carried + machine.flush().decode("utf-8", "replace")
            if event := self._tell(position, draft, text):
                yield event

    def _pieces(
        self, turn: Turn, writer: Model, draft: Draft, limit: tuple[int, StepEnd]
    ) -> Generator[Piece, None, None]:
        """Let the lane write into `draft`, and the others read along; `draft.end` says why it stops by itself."""
        lane, thinking = self._transcript.lanes[writer], turn.position.part == "thought"
        followers = self._transcript.others(writer) if self._reads_along else ()
        before = lane.fed
        writing = lane.write(limit[0])
        try:
            while not (thinking and self._answer_now.is_set()):
                try:
                    piece = next(writing)
                except StopIteration as stop:
                    draft.end = "end_of_generation" if stop.value == "end" else limit[1]
                    return
                if not draft.tokens:
                    draft.fed += lane.fed - before
                draft.add(piece)
                if turn.seconds_to_first_token is None:
                    turn.seconds_to_first_token = perf_counter() - turn.began
                for follower in followers:
                    follower.follow(self._transcript.shared(draft.ids))
                yield piece
            draft.end = "user"
        except CancelledError:
            draft.end = "cancelled"
        except ContextFullError:
            draft.end = "context_full"
        except DecodeError as error:
            draft.end, turn.failure = "failed", str(error)
        finally:
            writing.close()
            if not draft.tokens:
                draft.fed += lane.fed - before

    def _tell(self, position: Position, draft: Draft, text: str) -> Text | None:
        """Record new text; return its event, if there is anything to show."""
        if position.part != "thought":
            text = text if position.answer or self._keeps_blanks else text.lstrip()
            position.answer += text
        if not text:
            return None
        draft.text += text
        return Text(draft.started.index, position.part, text)

    def thought_room(self) -> int:
        """Count the tokens left for the thought when the answer's room is set aside."""
        wanted = self._settings.max_answer
        return min(lane.room - min(wanted, lane.context // 4) for lane in self._transcript.lanes.values())

    def _limit(self, position: Position, lane: Lane) -> tuple[int, StepEnd]:
        """Return the most tokens the step may have, and what its end is then."""
        settings = self._settings
        if position.part == "thought":
            budget, room = settings.max_thought, self.thought_room()
        else:
            budget, room = settings.max_answer, lane.room
        limits: list[tuple[int, StepEnd]] = [(budget - position.written, "budget"), (room, "context_full")]
        if self._splits(position):
            limits.append((settings.max_step, "cap"))
        return min(limits)

    def _splits(self, position: Position) -> bool:
        """Is this part written step by step? The answer is one step, unless it is routed."""
        return position.part != "answer" or self._settings.answer_by == "route"


def _split(slices: list[Slice]) -> tuple[bytes, StepEnd | None, bytes]:
    """Return a piece's text in this step, the boundary in it, and the text it has behind the end of the thought.

    A decision can only be taken between two pieces: what one has behind a blank line still belongs to the step.
    """
    texts = [part.text for part in slices]
    for i, part in enumerate(slices):
        if part.boundary == "thought_end":
            return b"".join(texts[: i + 1]), "thought_end", b"".join(texts[i + 1 :])
    return b"".join(texts), next((part.boundary for part in slices if part.boundary), None), b""
