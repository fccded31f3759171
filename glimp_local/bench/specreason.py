"""SpecReason (arXiv 2504.07891), the rival: the small model writes each step, the large one scores it afterwards.

A step whose score is too low is written again by the large model. The score is read from the distribution of the large
model's next token behind a question about the step, so scoring writes nothing. The authors put the question into a turn
of its own; here it stands behind the step, in the thought, so that all that was read before is used again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from glimp_local.engines.protocol import Vocabulary
from glimp_local.errors import CancelledError, ContextFullError, UsageError
from glimp_local.events import AnyEvent, Step, StepEnded
from glimp_local.routing import MODELS, Decision, Glimpse, Model, PolicyName
from glimp_local.session.session import Session

ENOUGH = 7
"""The least score a step may have to be kept: the authors' threshold."""

_QUESTION = (
    "\n\n(How good is the last step of this reasoning, judged by nothing but its facts and its logic? From 0, useless "
    "or wrong, to 9, certainly right, its quality score is:"
)
DIGITS = [f"{space}{digit}".encode() for digit in range(10) for space in ("", " ")]
"""What says a digit, in order of the digits: with and without a space."""


class SmallFirst:
    """Lets the small model write everything, with the large one at hand."""

    name: PolicyName = "small"
    glimpses = True
    models: tuple[Model, ...] = MODELS

    def decide(self, glimpse: Glimpse | None) -> Decision:  # noqa: ARG002 - the step is judged when it is written
        """Choose the small model."""
        return Decision("small", "policy")


class Judge:
    """How the large model is asked for a score, and how it is read. Raises UsageError if it has no digits."""

    def __init__(self, vocabulary: Vocabulary | None) -> None:
        if vocabulary is None or not any(len(vocabulary.tokenize(text, continues=True)) == 1 for text in DIGITS):
            raise UsageError(
                "the large model has no token for a digit, so it cannot score a step",
                hint="leave specreason out: name the policies wanted with --policy",
            )
        # Where a space is a token of its own it belongs to the question: the digit is to be the next token.
        last = vocabulary.piece(vocabulary.tokenize(f"{_QUESTION} 7", continues=True)[-1])
        self.question = f"{_QUESTION} " if last == b"7" else _QUESTION

    def score(self, session: Session) -> int:
        """Score the step just written, from 0 to 9; raises what `Session.peek` raises."""
        return score(session.peek("large", DIGITS, aside=self.question.encode()))


class SpecReason:
    """Answers questions in a session whose policy is `SmallFirst`."""

    def __init__(self, session: Session, judge: Judge, *, enough: int = ENOUGH) -> None:
        self._session = session
        self._judge = judge
        self._enough = enough

    def ask(self, question: str) -> Iterator[AnyEvent]:
        """Answer a question; yields events like `Session.ask`, with a Rewound where a step was refused.

        Raises CancelledError after a cancel that came while a step was scored.
        """
        events, over = self._session.ask(question), False
        while not over:
            over = True
            for event in events:
                yield event
                if isinstance(event, StepEnded) and not self._accepts(event.step):
                    if self._session.is_cancelled:  # leaving the turn would clear it
                        raise CancelledError("cancelled while a step was scored")
                    events.close()
                    events, over = self._session.redo(event.step.index, "large"), False
                    break

    def _accepts(self, step: Step) -> bool:
        if step.model != "small" or step.part == "answer" or not step.tokens or step.end in {"cancelled", "failed"}:
            return True
        try:
            return self._judge.score(self._session) >= self._enough
        except ContextFullError:
            return True  # no room to ask; the session ends the thought next


def score(log_probabilities: Sequence[float]) -> int:
    """Return the likeliest digit, from 0 to 9, even if another token is likelier.

    `log_probabilities` (nats) are those of `DIGITS`, in its order; both spellings of a digit count together.
    """
    if max(log_probabilities) == -np.inf:
        return 0  # a server shows the likeliest tokens alone, and no digit is among them
    likely = np.exp(np.asarray(log_probabilities) - max(log_probabilities)).reshape(10, -1).sum(axis=1)
    return int(likely.argmax())
