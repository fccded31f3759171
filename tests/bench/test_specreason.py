from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp

from glimp_local import Session
from glimp_local.bench.agreement import watch
from glimp_local.bench.runs import Look
from glimp_local.bench.specreason import DIGITS, Judge, SmallFirst, SpecReason, score
from glimp_local.errors import ContextFullError, UsageError
from glimp_local.events import AnyEvent, Rewound, Solution, StepStarted, fold
from glimp_local.load import load_pair
from glimp_local.pair import Pair
from glimp_local.routing import MODELS
from tests.support.sessions import (
    GREEDY,
    QUESTION,
    Open,
    assert_caches_equal_fresh_runs,
    engine_in,
    held_by_a_fresh_engine,
    lane_of,
    look,
    writers,
)
from tests.support.tiny_models import LARGE, write_story
from tests.support.vocabularies import vocabulary

Judged = Callable[[str], tuple[Session, list[AnyEvent]]]


@pytest.fixture
def judged(tiny: Path, tmp_path: Path) -> Judged:
    """Solve with a large model that gives every step the same score."""

    def solve(digit: str) -> tuple[Session, list[AnyEvent]]:
        large = write_story(tmp_path / f"judge{digit}.gguf", {**LARGE, " ": {digit: 12.0}}, seed=1)
        pair = load_pair(small=tiny / "small.gguf", large=large, sampling=GREEDY)
        session = Session(pair, seed=1, policy=SmallFirst())
        judge = Judge(engine_in(pair, "large").vocabulary)
        return session, list(SpecReason(session, judge).ask(QUESTION))

    return solve


def test_steps_with_a_good_score_are_kept(judged: Judged) -> None:
    session, events = judged("9")
    solution = fold(events)
    assert writers(solution.steps) == "SSSSL"
    assert "Wrong way" in solution.thought
    assert_caches_equal_fresh_runs(session)
    session.pair.close()


def test_steps_with_a_bad_score_are_written_again_by_the_large_model(judged: Judged) -> None:
    session, events = judged("3")
    solution = fold(events)
    assert writers(solution.steps) == "LLLLL"
    assert {step.reason for step in solution.steps} == {"redo", "answer"}
    assert [event.index for event in events if isinstance(event, Rewound)] == [0, 1, 2, 3]
    assert solution.thought == "First one.\n\nSecond two:\n\nThird three.\n\n"
    assert solution.thought_end == "closed"
    assert solution.stats.small is not None
    assert solution.stats.small.tokens > 0  # written for nothing, and counted
    assert_caches_equal_fresh_runs(session)
    session.pair.close()


def test_seven_is_enough_and_six_is_not(judged: Judged) -> None:
    for digit, writer in (("7", "S"), ("6", "L")):
        session, events = judged(digit)
        assert set(writers(fold(events).steps[:-1])) == {writer}
        session.pair.close()


def test_the_score_is_the_likeliest_digit_and_leaves_other_tokens_out(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    fold(session.ask(QUESTION))
    logits = look(session, "large")
    tiny = engine_in(session.pair, "large").vocabulary
    digits = {digit: logits[tiny.tokenize(str(digit))[0]] for digit in range(10)}
    assert logits.max() > max(digits.values())
    assert score(session.peek("large", DIGITS)) == max(digits, key=lambda digit: digits[digit])


def test_a_peek_gives_the_logarithms_of_probabilities(open_pair: Open) -> None:
    session = Session(open_pair(), seed=1)
    fold(session.ask(QUESTION))
    for aside in ("", " So?"):
        logits = look(session, "large", aside).astype(np.float64)
        words = engine_in(session.pair, "large").vocabulary
        every = [token for token in range(words.size) if words.tokenize(words.piece(token), continues=True) == [token]]
        found = session.peek("large", [words.piece(token) for token in every], aside=aside.encode())
        assert np.allclose(found, (logits - logsumexp(logits))[every])
    assert session.peek("large", [b"two tokens", b""]) == [-math.inf, -math.inf]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2", "llama-bpe", "llama-spm", "gpt-2", "command-r", "gemma-4"])
def test_the_score_is_the_very_next_token_in_every_vocabulary(llama_cpp_models: Path, name: str) -> None:
    with vocabulary(llama_cpp_models / f"ggml-vocab-{name}.gguf") as real:
        judge = Judge(real)
        spelled = {text: real.tokenize(text, continues=True) for text in DIGITS}
        digits = {ids[0]: int(text) for text, ids in spelled.items() if len(ids) == 1}
        asked = real.tokenize(judge.question, continues=True)
        for digit in range(10):
            *before, last = real.tokenize(f"{judge.question.rstrip()} {digit}", continues=True)
            assert before == asked
            assert digits[last] == digit


def test_both_spellings_of_a_digit_count_together() -> None:
    said = {b"3": 1.0, b"8": 0.8, b" 8": 0.8}
    assert score([said.get(text, -9.0) for text in DIGITS]) == 8
    assert score([{**said, b"3": 2.0}.get(text, -9.0) for text in DIGITS]) == 3


def test_a_look_shows_what_a_fresh_engine_computes_and_changes_nothing(open_pair: Open) -> None:
    pair = open_pair()
    session = Session(pair, seed=1)
    undisturbed = fold(Session(pair, seed=1).ask(QUESTION))
    events: list[AnyEvent] = []
    for event in session.ask(QUESTION):
        events.append(event)
        if isinstance(event, StepStarted):
            for model, aside in product(MODELS, ("", " So?")):
                lane = lane_of(session, model)
                seen = look(session, model, aside)
                ids = [*lane.ids, *lane.engine.vocabulary.tokenize(aside, continues=True)]
                assert np.allclose(seen, held_by_a_fresh_engine(lane.engine, ids), atol=0.1)
    looked_at = fold(events)
    assert [step.text for step in looked_at.steps] == [step.text for step in undisturbed.steps]
    assert writers(looked_at.steps) == writers(undisturbed.steps)
    assert_caches_equal_fresh_runs(session)


def test_an_aside_that_has_no_room_leaves_the_session_as_it_was(open_pair: Open) -> None:
    pair = open_pair(context=200)
    session = Session(pair, seed=1)
    fold(session.ask(QUESTION))
    with pytest.raises(ContextFullError):
        session.peek("large", [b"x"], aside=b"x" * 300)
    assert_caches_equal_fresh_runs(session)


def test_a_look_needs_the_model_to_be_loaded(open_pair: Open) -> None:
    session = Session(open_pair(policy="small"), seed=1)
    with pytest.raises(UsageError, match="large model is not loaded"):
        session.peek("large", [b"x"])


def solved_and_watched(pair: Pair) -> tuple[Solution, list[Look]]:
    looks: list[Look] = []
    return fold(watch(Session(pair, seed=1), QUESTION, looks)), looks


def test_both_models_are_compared_at_every_glimpse(open_pair: Open) -> None:
    solution, looks = solved_and_watched(open_pair())
    assert [look.entropy_nats for look in looks] == list(solution.stats.entropies_nats)
    # Behind the second step, and only there, the small model would have gone wrong.
    assert [look.agrees for look in looks] == [True, True, False, True]


def test_models_of_two_vocabularies_are_compared_by_their_text(open_pair: Open) -> None:
    pair = open_pair(large="other-vocabulary")
    _, looks = solved_and_watched(pair)
    # The same first word is another token there.
    first = [engine_in(pair, model).vocabulary.tokenize("First") for model in MODELS]
    assert first[0] != first[1]
    assert looks[0].agrees
    assert not all(look.agrees for look in looks)
