"""Conversations kept in memory: time to the first token of the next question behind a side request, with and without.

Both models read every prompt: the small one to be glimpsed at, the large one because the threshold is 0.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from time import perf_counter

import msgspec

from benchmarks.document import table
from benchmarks.figures import median, number, ratio
from benchmarks.setup import MissingError, Setup
from glimp_local.engines.llama.backend import engine_of
from glimp_local.engines.llama.cache import Copy
from glimp_local.engines.llama.engine import Engine
from glimp_local.events import Started, Text, fold
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.routing import MODELS
from glimp_local.session.session import Session

HEADING = "Conversations in memory: the next question behind a side request"

_LIMIT_BYTES = 2 * 10**9
_PARAGRAPH = "Wheels, frames, chains and brakes: tell in which decade each of them came up, and who needed it most. "
_PARAGRAPHS = 65
_SIDE = "Give a conversation about bicycles a title of three words. Answer with the title and nothing else."
_NEXT = "And which of them matters most today?"
_SETTINGS = {"policy": "threshold", "threshold": 0.0, "thinking": "none", "context": 4096, "draft": "off"}


class Asked(msgspec.Struct, frozen=True):
    """What became of the next question."""

    first_seconds: float
    """To the first text of the answer."""
    read: tuple[int, ...]
    """Tokens of the prompt that were computed, by model."""
    prompt_tokens: int


def measure(setup: Setup) -> list[str]:
    """Measure the pair of two vocabularies; raises MissingError."""
    files = setup.two_vocabularies()
    kept: list[Asked] = []
    lost: list[Asked] = []
    with setup.open(files, max_answer=min(setup.tokens, 16), **_SETTINGS) as pair:
        for number_ in range(setup.rounds):
            for into, limit in ((kept, _LIMIT_BYTES), (lost, 0))[:: -1 if number_ % 2 else 1]:
                into.append(_next_question(pair, limit))
        copies = [_copied(engine_of(pair.backends[model]), setup.rounds) for model in MODELS]
    rows = [
        [
            name,
            f"{median([each.first_seconds for each in asked])} s",
            *(f"{_read(asked, i)}" for i in range(len(MODELS))),
        ]
        for name, asked in (("kept in memory", kept), ("not kept", lost))
    ]
    speed = ratio([each.first_seconds for each in kept], [each.first_seconds for each in lost])
    about = (
        f"{files.name}: a conversation of {kept[0].prompt_tokens:,} tokens, a request for its title, and its next "
        f"question; every prompt is read by both models. {setup.rounds} rounds in turns, medians; the time to the "
        f"first token kept against not kept is {speed}."
    )
    columns = ("the conversation is", "to the first token", *(f"tokens read by the {model} model" for model in MODELS))
    columns_copied = ("model", "tokens", "copy", "to memory, at first", "again", "back", "reading them instead")
    copied = (
        f"What copying costs: the first time, to memory that the process may touch for the first time, and in "
        f"{setup.rounds} more rounds (medians)."
    )
    return [about, table(columns, rows), copied, table(columns_copied, copies)]


def _read(asked: Sequence[Asked], model: int) -> str:
    return f"{statistics.median(each.read[model] for each in asked):,.0f}"


def _next_question(pair: Pair, limit_bytes: int) -> Asked:
    """Begin a conversation, ask for something else, and ask the next question."""
    pair.forget()
    pair.keep_conversations(limit_bytes)
    question = _PARAGRAPH * _PARAGRAPHS
    answer = fold(Session(pair, seed=1).ask(question)).answer
    fold(Session(pair, seed=1).ask(_SIDE))
    session = Session(pair, seed=1, history=[Message("user", question), Message("assistant", answer)])
    began, events, texts = perf_counter(), [], []
    for event in session.ask(_NEXT):
        events.append(event)
        if isinstance(event, Text):
            texts.append(perf_counter() - began)
    if not texts:
        raise MissingError(f"{pair.name} has nothing to say: there is no first token to wait for")
    stats = fold(events).stats
    read = [0 if did is None else did.prefill_tokens for did in (stats.small, stats.large)]
    (started,) = (event for event in events if isinstance(event, Started))
    return Asked(texts[0], tuple(read), started.prompt_tokens)


def _copied(engine: Engine, rounds: int) -> list[str]:
    """Copy what an engine holds to memory and back, and compute it again."""
    ids, there, back = list(engine.ids), [], []
    copy: Copy | None = None
    for _ in range(1 + rounds):
        copy = None  # frees the one before
        began = perf_counter()
        copy = engine.copy_state()
        there.append(perf_counter() - began)
        assert copy is not None
        began = perf_counter()
        is_held = engine.put_state(list(ids), copy)
        back.append(perf_counter() - began)
        assert is_held
        size = len(copy.state)
    engine.rewind(0)
    began = perf_counter()
    engine.feed(ids)
    reading = perf_counter() - began
    copying = (there[0], statistics.median(there[1:]), statistics.median(back))
    speeds = [f"{number(1000 * seconds)} ms, {number(size / seconds / 1e6)} MB/s" for seconds in copying]
    return [engine.name, f"{len(ids):,}", f"{number(size / 1e6)} MB", *speeds, f"{number(reading)} s"]
