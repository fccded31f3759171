"""Guesses: behind an engine's tokens, where they leave no trace, and from the text itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glimp_local.engines.llama.drafting import TextDrafter
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.llama.sampler import Sampler
from glimp_local.errors import ContextFullError
from glimp_local.settings import MAX_DRAFT, EngineOptions, SamplingSettings
from tests.support.engines import IDS, TOLERANCE, fresh_logits
from tests.support.sessions import (
    count_batches,
)

# The engine: guesses behind the tokens.


@pytest.fixture
def engine(tiny: Path) -> Iterator[Engine]:
    engine = Engine(tiny / "attention.gguf", EngineOptions(batch=32), context=256)
    engine.feed(IDS[:20])
    yield engine
    engine.close()


def test_a_guess_that_comes_true_costs_no_batch_of_its_own(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {end: fresh_logits(engine.path, IDS[:end]) for end in range(21, 26)}
    computed = count_batches(monkeypatch)
    engine.decode(IDS[20], IDS[21:25])
    for end in range(21, 25):
        assert engine.expects(IDS[end])
        assert np.allclose(engine.logits(), expected[end], atol=TOLERANCE)
        sampler = Sampler(SamplingSettings(temperature=0), seed=1, vocabulary_size=engine.vocabulary.size)
        assert engine.sample(sampler) == int(engine.logits().argmax())
        engine.decode(IDS[end])
        assert engine.ids == IDS[: end + 1]
    assert np.allclose(engine.logits(), expected[25], atol=TOLERANCE)
    assert computed == [5]


def test_guesses_that_do_not_come_true_leave_no_trace(engine: Engine) -> None:
    engine.decode(IDS[20], [IDS[21], 7, 7])
    engine.decode(IDS[21])
    assert not engine.expects(IDS[22])
    engine.decode(IDS[22], [9, 9])
    assert np.allclose(engine.logits(), fresh_logits(engine.path, IDS[:23]), atol=TOLERANCE)
    engine.feed(IDS[23:30])
    assert engine.ids == IDS[:30]
    assert np.allclose(engine.logits(), fresh_logits(engine.path, IDS[:30]), atol=TOLERANCE)


def test_a_sync_takes_the_guesses_that_came_true(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.decode(IDS[20], IDS[21:24])
    computed = count_batches(monkeypatch)
    assert engine.sync(IDS[:23]) == 0
    assert not computed
    assert np.allclose(engine.logits(), fresh_logits(engine.path, IDS[:23]), atol=TOLERANCE)


def test_guesses_without_room_are_left_out(tiny: Path) -> None:
    engine = Engine(tiny / "attention.gguf", context=24)
    engine.feed(IDS[:20])
    engine.decode(IDS[20], [7] * MAX_DRAFT)
    assert engine.drafted == 3
    for token in IDS[21:24]:
        engine.decode(token, [7] * MAX_DRAFT)
    with pytest.raises(ContextFullError):
        engine.decode(7, [7])
    assert engine.ids == IDS[:24]
    engine.close()


@settings(max_examples=40)
@given(moves=st.lists(st.tuples(st.sampled_from(["draft", "feed", "back", "sync"]), st.integers(0, 9)), max_size=12))
def test_whatever_is_guessed_and_taken_back_the_cache_is_that_of_a_fresh_run(
    tiny: Path, moves: list[tuple[str, int]]
) -> None:
    engine = Engine(tiny / "attention.gguf", EngineOptions(batch=32), context=256)
    engine.feed(IDS[:9])
    for move, number in moves:
        at = len(engine.ids)
        if move == "draft":
            engine.decode(IDS[at], [*IDS[at + 1 : at + 1 + number // 2], *([7] * (number % 3))])
        elif move == "feed":
            engine.feed(IDS[at : at + 1 + number])
        elif move == "back":
            engine.rewind(max(1, at - 1 - number))
            engine.feed(IDS[len(engine.ids) : at])
        else:
            engine.sync(IDS[: at + number])
    assert engine.ids == IDS[: len(engine.ids)]
    assert np.allclose(engine.logits(), fresh_logits(engine.path, engine.ids), atol=TOLERANCE)
    engine.close()


# The text as a drafter.


def test_what_followed_the_last_words_before_is_guessed_again() -> None:
    drafter = TextDrafter()
    text = [1, 2, 3, 4, 5, 6, 9, 1, 2, 3]
    assert drafter.find(text)[0] == text.index(4)
    assert drafter.find([*text, 7])[0] == 0


def test_the_longer_it_is_alike_the_better_is_the_guess() -> None:
    (short, grade), (long, better) = (
        TextDrafter().find(text) for text in ([1, 2, 3, 4, 8, 1, 2, 3], [5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3])
    )
    assert (short, long) == (3, 6)
    assert grade < better


def test_a_text_that_was_cut_is_not_remembered() -> None:
    drafter = TextDrafter()
    drafter.find([1, 2, 3, 4, 5])
    drafter.forget(2)
    assert drafter.find([1, 2, 9, 9, 1, 2, 3])[0] == 0
    assert drafter.find([1, 2, 9, 9, 1, 2, 9])[0] == 3
