"""Drafting: what is written is what the writer alone would write, whatever was guessed and whatever goes wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from glimp_local import Session, load_pair
from glimp_local.bench.problems import read_problems
from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import DecodeError
from glimp_local.events import Finished, Notice, StepStarted, Text, fold
from glimp_local.pair import Pair
from glimp_local.settings import MAX_DRAFT
from tests.support.sessions import (
    GREEDY,
    QUESTION,
    Open,
    assert_caches_equal_fresh_runs,
    engine_in,
    lane_of,
    look,
    run,
)

Draft = Literal["auto", "off"] | int


@pytest.fixture(scope="module")
def builtin() -> Iterator[Callable[..., Pair]]:
    opened: dict[str, Pair] = {}

    def open_(**settings: Any) -> Pair:
        key = repr(settings)
        if key not in opened:
            opened[key] = load_pair("builtin", **{"sampling": {"temperature": 0}, **settings})
        opened[key].forget()
        return opened[key]

    yield open_
    for pair in opened.values():
        pair.close()


STORIES = [problem.text for problem in read_problems("builtin")[:4]]


@pytest.mark.slow
@pytest.mark.parametrize("draft", ["auto", 1, 3, MAX_DRAFT])
@pytest.mark.parametrize("policy", ["threshold", "speculative", "small"])
def test_at_temperature_0_drafts_change_no_token(builtin: Callable[..., Pair], draft: Draft, policy: str) -> None:
    for story in STORIES:
        plain, drafted = (run(builtin(draft=how, policy=policy), story) for how in ("off", draft))
        assert [step.text for step in drafted.steps] == [step.text for step in plain.steps]
        assert [step.model for step in drafted.steps] == [step.model for step in plain.steps]
        assert plain.stats.large is None or plain.stats.large.drafted == 0
        if draft != "auto":
            models = [model for model in (drafted.stats.small, drafted.stats.large) if model]
            assert sum(model.draft_accepted for model in models) > 0
            assert all(model.draft_accepted <= model.drafted for model in models)


@pytest.mark.slow
def test_with_drafts_tokens_are_drawn_from_the_same_distribution(open_pair: Open) -> None:
    sampling = {"temperature": 1.0, "top_k": 9, "top_p": 1.0}
    settings = {"small": "rambling", "large": "rambling", "sampling": sampling, "max_thought": 7, "max_answer": 1}
    counts = []
    for draft, first in (("off", 0), (3, 10_000)):
        pair = open_pair(draft=draft, policy="speculative", **settings)
        drawn = [run(pair, seed=first + seed).thought for seed in range(400)]
        counts.append(Counter((text[3], text[4]) for text in drawn))
        assert len(counts[-1]) > 20
    seen = [pair_ for pair_ in counts[0] | counts[1] if counts[0][pair_] + counts[1][pair_] >= 10]
    table = np.array([[count[pair_] for pair_ in seen] for count in counts])
    assert chi2_contingency(table).pvalue > 1e-3


def test_after_a_large_step_that_was_drafted_the_small_model_has_next_to_nothing_to_catch_up(
    builtin: Callable[..., Pair],
) -> None:
    missed = {}
    for draft in ("off", 4):
        solution = run(builtin(draft=draft, policy="random", share=0.5), STORIES[0])
        assert solution.stats.small is not None
        missed[draft] = solution.stats.small.catch_up_tokens
        switches = sum(a.model == "large" != b.model for a, b in zip(solution.steps, solution.steps[1:], strict=False))
    assert missed["off"] > 5 * switches
    assert missed[4] <= 3 * switches


def test_a_batch_smaller_than_a_draft_is_no_batch_of_the_draft_s_size(tiny: Path) -> None:
    settings: dict[str, Any] = {"policy": "speculative", "draft": 8, "max_answer": 40}
    path = tiny / "endless.gguf"
    with load_pair(small=path, large=path, engine_options={"large": {"batch": 4}}, sampling=GREEDY, **settings) as pair:
        solution = run(pair)
        economy = lane_of(Session(pair), "large").backend.economy
        measured = [size for size, round_ in enumerate(economy._computed) if round_]
    assert solution.stats.large is not None
    assert max(measured) == 4
    assert solution.stats.large.drafted <= 3 * solution.stats.large.tokens
    assert solution.stats.large.draft_accepted > 0


@pytest.mark.parametrize("draft", [2, "auto"])
def test_a_speed_up_is_no_more_than_the_guesses_that_came_true(
    builtin: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch, draft: Draft
) -> None:
    decode, now = Engine.decode, [0.0]
    monkeypatch.setattr("glimp_local.engines.llama.drafting.perf_counter", lambda: now[0])

    def decode_by_the_clock(engine: Engine, token: int, drafted: Any = ()) -> None:
        computed = not engine.expects(token)
        decode(engine, token, drafted)
        if computed:
            now[0] += 1.0 + 0.1 * engine.drafted

    monkeypatch.setattr(Engine, "decode", decode_by_the_clock)
    pair = builtin(draft=draft, policy="large")
    for story in STORIES:
        stats = run(pair, story).stats.large
        assert stats is not None
        if stats.draft_speedup is not None:
            assert 0.5 < stats.draft_speedup <= stats.tokens / (stats.tokens - stats.draft_accepted)
        assert (stats.draft_speedup is None) == (stats.drafted == 0)


def test_a_look_inside_a_drafted_step_does_not_mislead_the_drafter(builtin: Callable[..., Pair]) -> None:
    pair = builtin(draft=4, policy="speculative")
    plain = run(pair, STORIES[0]).stats.large
    session, events = Session(pair, seed=1), []
    for event in session.ask(STORIES[0]):
        events.append(event)
        if isinstance(event, Text) and len(events) % 9 == 0:
            look(session, "small")
    looked = fold(events).stats.large
    assert plain is not None
    assert looked is not None
    assert looked.draft_accepted > 0.9 * plain.draft_accepted


def test_without_one_vocabulary_the_text_drafts(open_pair: Open) -> None:
    pair = open_pair(small="rambling", large="other-vocabulary", policy="small", draft=4, max_thought=200)
    solution = run(pair)
    assert solution.stats.small is not None
    assert solution.stats.small.draft_accepted > 0


def test_the_policy_speculative_says_so_where_the_small_model_cannot_draft(open_pair: Open) -> None:
    for changed, reason in (
        ({"large": "other-vocabulary"}, "not of one vocabulary"),
        ({"draft": "off"}, "drafting is off"),
    ):
        pair = open_pair(policy="speculative", **{"draft": "auto", **changed})
        solution = run(pair)
        assert any("does not draft" in notice and reason in notice for notice in solution.notices)
        assert {step.model for step in solution.steps} == {"large"}


def test_under_the_policy_speculative_nothing_is_glimpsed(open_pair: Open) -> None:
    solution = run(open_pair(policy="speculative", draft=2))
    assert {(step.model, step.reason) for step in solution.steps} == {("large", "policy"), ("large", "answer")}
    assert solution.stats.entropies_nats == ()


@pytest.mark.parametrize("name", ["sliding-window", "recurrent"])
def test_models_that_cannot_go_back_do_not_draft(tiny: Path, name: str) -> None:
    path = tiny / f"{name}.gguf"
    with load_pair(small=path, large=path, policy="speculative", draft=4, max_answer=40) as pair:
        solution = run(pair)
    assert solution.stats.large is not None
    assert solution.stats.large.drafted == 0
    assert any("cannot go back" in notice for notice in solution.notices)


@pytest.mark.parametrize("draft", [1, 2, 3, 16])
def test_a_hybrid_model_writes_the_same_with_guesses_from_the_text(tiny: Path, draft: int) -> None:
    path = tiny / "hybrid.gguf"
    solutions = []
    for setting in ("off", draft):
        settings: dict[str, Any] = {"draft": setting, "max_answer": 120, "sampling": GREEDY}
        with load_pair(small=path, large=path, policy="large", **settings) as pair:
            session = Session(pair, seed=1)
            solutions.append(fold(session.ask("one two three one two three one two three")))
            assert_caches_equal_fresh_runs(session)
            solutions.append(fold(session.ask("one two three one two three")))
            assert_caches_equal_fresh_runs(session)
    assert [solution.answer for solution in solutions[:2]] == [solution.answer for solution in solutions[2:]]
    drafted = [solution.stats.large.drafted for solution in solutions if solution.stats.large is not None]
    assert drafted[:2] == [0, 0]
    assert sum(drafted[2:]) > 0


# What goes wrong.


@pytest.mark.parametrize("stop_at", [1, 5, 12, 30])
def test_a_cancel_inside_a_draft_leaves_both_caches_right(builtin: Callable[..., Pair], stop_at: int) -> None:
    session = Session(builtin(draft=4), seed=1)
    seen = 0
    for event in session.ask(STORIES[1]):
        seen += isinstance(event, Text)
        if seen == stop_at:
            session.cancel()
    assert_caches_equal_fresh_runs(session)
    whole = fold([*session.ask(STORIES[1], instead=True)][1:])
    assert whole.answer == run(builtin(draft="off"), STORIES[1]).answer


def test_a_reader_who_walks_away_inside_a_draft_leaves_both_caches_right(builtin: Callable[..., Pair]) -> None:
    session = Session(builtin(draft=8), seed=1)
    events = session.ask(STORIES[2])
    while not (isinstance(event := next(events), StepStarted) and event.model == "large"):
        pass
    for _ in range(3):
        next(events)
    events.close()
    assert_caches_equal_fresh_runs(session)
    list(session.resume())
    assert_caches_equal_fresh_runs(session)


def test_a_redo_behind_drafts_leaves_both_caches_right(builtin: Callable[..., Pair]) -> None:
    session = Session(builtin(draft=5), seed=1)
    list(session.ask(STORIES[3]))
    assert_caches_equal_fresh_runs(session)
    list(session.redo(3))
    assert_caches_equal_fresh_runs(session)
    list(session.ask(STORIES[0]))
    assert_caches_equal_fresh_runs(session)


def test_a_full_context_inside_a_draft_is_the_same_full_context(open_pair: Open) -> None:
    ends = []
    for draft in ("off", 6):
        pair = open_pair(small="endless", large="endless", context=96, policy="speculative", draft=draft)
        session = Session(pair, seed=1)
        solution = fold(session.ask(QUESTION))
        ends.append((solution.finish_reason, solution.thought_end, solution.thought, solution.answer))
        assert_caches_equal_fresh_runs(session)
    assert ends[0] == ends[1]


def test_a_small_model_that_fails_while_it_drafts_ends_only_the_drafting(
    builtin: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(builtin(draft="off", policy="speculative"), STORIES[0])
    pair = builtin(draft=4, policy="speculative")
    decode, calls = Engine.decode, []

    def fail_at_last(engine: Engine, token: int, drafted: Any = ()) -> None:
        if engine is engine_in(pair, "small"):
            calls.append(token)
            if len(calls) > 20:
                raise DecodeError("it broke")
        decode(engine, token, drafted)

    monkeypatch.setattr(Engine, "decode", fail_at_last)
    session = Session(pair, seed=1)
    events = list(session.ask(STORIES[0]))
    assert fold(events).answer == expected.answer
    assert len(calls) == 21
    assert [e.message for e in events if isinstance(e, Notice)] == ["the small model drafts no longer: it broke"]
    monkeypatch.undo()
    assert_caches_equal_fresh_runs(session)


def test_a_writer_that_fails_over_a_draft_ends_the_run_with_what_there_is(
    builtin: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = builtin(draft=4, policy="speculative")
    compute, wide = Engine._compute, []

    def fail_at_last(engine: Engine, count: int) -> None:
        wide.append(engine is engine_in(pair, "large") and 1 < count <= 5)
        if sum(wide) == 6:
            raise DecodeError("it broke")
        compute(engine, count)

    monkeypatch.setattr(Engine, "_compute", fail_at_last)
    session = Session(pair, seed=1)
    *_, finished = session.ask(STORIES[0])
    assert isinstance(finished, Finished)
    assert finished.finish_reason == "failed"
    monkeypatch.undo()
    assert_caches_equal_fresh_runs(session)
    list(session.resume())
    assert_caches_equal_fresh_runs(session)
