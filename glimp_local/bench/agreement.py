"""Would both models begin a step alike? Asked of both, at every glimpse of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from glimp_local.bench.runs import Look
from glimp_local.errors import ContextFullError
from glimp_local.events import AnyEvent, StepStarted
from glimp_local.routing import MODELS
from glimp_local.session.session import Session


def watch(session: Session, question: str, looks: list[Look]) -> Iterator[AnyEvent]:
    """Answer a question and note at each glimpse whether the two models would begin the step with the same token.

    Yields the events of `Session.ask`. The large model reads every step early, so the run's times say nothing. Where
    the transcript outgrows its context there are no more looks.
    """
    for event in session.ask(question):
        if isinstance(event, StepStarted) and event.entropy_nats is not None and event.part != "answer":
            with suppress(ContextFullError):
                looks.append(Look(event.entropy_nats, _agree(session)))
        yield event


def _agree(session: Session) -> bool:
    """Compare the likeliest first tokens; those of two vocabularies agree where one's text begins the other's."""
    small, large = (session.likeliest(model) for model in MODELS)
    if session.pair.shares_vocabulary:
        return small.ids == large.ids
    one, other = small.raw, large.raw
    return bool(one) and bool(other) and (one.startswith(other) or other.startswith(one))
