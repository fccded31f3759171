"""Several conversations of one engine: put on a shelf, taken up again, and computed on as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glimp_local import Session, load_pair
from glimp_local.bench.problems import read_problems
from glimp_local.engines.llama import binding
from glimp_local.engines.llama.cache import Copy
from glimp_local.engines.llama.conversations import Conversations
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.shelf import Shelf
from glimp_local.events import fold
from tests.support.engines import ARCHITECTURES, IDS, TOLERANCE, fresh_logits
from tests.support.sessions import assert_caches_equal_fresh_runs, run

ROOM = 10**9
A, B, C = IDS[:200], IDS[200:300], IDS[300:400]

Open = Callable[..., tuple[Engine, Conversations, Shelf]]


@pytest.fixture
def opened(tiny: Path) -> Iterator[Open]:
    engines: list[Engine] = []

    def open_(name: str = "attention", limit_bytes: int = ROOM) -> tuple[Engine, Conversations, Shelf]:
        engines.append(Engine(tiny / f"{name}.gguf", context=512))
        shelf = Shelf(limit_bytes)
        return engines[-1], Conversations(engines[-1], shelf), shelf

    yield open_
    for engine in engines:
        engine.close()


def read(engine: Engine, conversations: Conversations, prompt: list[int], lasting: int | None = None) -> int:
    """Begin a prompt like a lane, and read it; return how many tokens were fed."""
    before = engine.fed
    conversations.begin(prompt, lasting=lasting, goes_on=True)
    if not (engine.keeps_past or engine.comes_back_to(prompt[:-10])):
        engine.sync(prompt[:-10])
        engine.snapshot()
    engine.sync(prompt)
    assert engine.ids == prompt
    return engine.fed - before


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_conversation_goes_on_after_another_one_without_being_read_again(opened: Open, name: str) -> None:
    engine, conversations, _ = opened(name)
    read(engine, conversations, A)
    read(engine, conversations, B)
    longer = [*A, *C[:40]]
    assert read(engine, conversations, longer) == 40
    assert np.allclose(engine.logits(), fresh_logits(engine.path, longer), atol=TOLERANCE)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_taken_up_computes_to_the_last_bit_what_was_put_aside(opened: Open, name: str) -> None:
    engine, conversations, _ = opened(name)
    other, _, _ = opened(name)
    for each in (engine, other):
        each.feed(A[:190])
        each.snapshot()
        each.feed(A[190:])
    conversations.begin(B, lasting=None, goes_on=False)
    engine.sync(B)
    conversations.begin([*A, *C], lasting=None, goes_on=True)
    assert engine.ids == A
    for token in C[:10]:
        for each in (engine, other):
            each.decode(token)
        assert np.array_equal(engine.logits(), other.logits())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_thought_is_not_put_aside_and_the_next_prompt_goes_on_before_it(opened: Open, name: str) -> None:
    engine, conversations, shelf = opened(name)
    read(engine, conversations, A, lasting=len(A))
    engine.feed(C)  # the thought and the answer
    read(engine, conversations, B)
    (kept,) = shelf.of(engine)
    assert kept.ids.tolist() in (A, A[:-10])
    longer = [*A[:-10], *C[50:90]]
    assert read(engine, conversations, longer) <= 40
    assert np.allclose(engine.logits(), fresh_logits(engine.path, longer), atol=TOLERANCE)


def test_three_conversations_take_turns(opened: Open) -> None:
    engine, conversations, shelf = opened()
    prompts = [[first, *A[:60]] for first in range(3)]
    for prompt in prompts:
        read(engine, conversations, prompt)
    for turn in range(2):
        prompts = [[*prompt, *B[40 * turn : 40 * turn + 40]] for prompt in prompts]
        assert [read(engine, conversations, prompt) for prompt in prompts] == [40, 40, 40]
    assert len(shelf) == 2, "each is there once, and the one that is held is not"
    assert np.allclose(engine.logits(), fresh_logits(engine.path, prompts[2]), atol=TOLERANCE)


def test_two_conversations_with_one_beginning_share_it_and_none_is_lost(opened: Open) -> None:
    engine, conversations, shelf = opened()
    one, other = [*A[:100], *B], [*A[:100], *C]
    read(engine, conversations, one)
    assert read(engine, conversations, other) == 100
    assert read(engine, conversations, B[:50]) == 50
    assert read(engine, conversations, [*A[:100], *B[::-1]]) == 100
    assert len(shelf) == 3, "what was taken up for its beginning alone stays"
    assert read(engine, conversations, [*one, 5]) == 1
    assert read(engine, conversations, [*other, 5]) == 1


def test_the_next_turn_of_the_conversation_that_is_held_puts_nothing_aside(opened: Open) -> None:
    engine, conversations, shelf = opened()
    read(engine, conversations, A[:100], lasting=100)
    engine.feed(C)
    assert read(engine, conversations, [*A[:98], *B[:20]], lasting=118) <= 22
    assert len(shelf) == 0


def test_what_is_short_is_not_put_aside(opened: Open) -> None:
    engine, conversations, shelf = opened()
    read(engine, conversations, A[:20])
    read(engine, conversations, B)
    assert len(shelf) == 0


def test_what_is_on_the_shelf_already_is_not_copied_again(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, conversations, shelf = opened()
    read(engine, conversations, A)
    read(engine, conversations, B)
    copies = []
    copy = Engine.copy_state

    def count_and_copy(engine: Engine) -> Copy | None:
        copies.append(len(engine.ids))
        return copy(engine)

    monkeypatch.setattr(Engine, "copy_state", count_and_copy)
    read(engine, conversations, [*A[:120], *C[:10]])
    engine.rewind(120)
    read(engine, conversations, C)
    assert copies == [100], "only B was new"
    assert len(shelf) == 2


def test_the_shelf_takes_no_more_than_its_limit(opened: Open) -> None:
    engine, conversations, shelf = opened()
    read(engine, conversations, A[:100])
    read(engine, conversations, B)
    each = shelf.size_bytes
    engine, conversations, shelf = opened(limit_bytes=2 * each + each // 2)
    for first in range(6):
        read(engine, conversations, [first, *A[:99]])
        assert shelf.size_bytes <= shelf.limit_bytes
    assert len(shelf) == 2
    assert read(engine, conversations, [4, *A[:99], 7]) == 1
    assert shelf.size_bytes <= shelf.limit_bytes


def test_without_room_for_a_single_one_everything_is_read_again(opened: Open) -> None:
    engine, conversations, shelf = opened(limit_bytes=1000)
    for prompt in (A, B, A):
        assert read(engine, conversations, prompt) == len(prompt)
    assert len(shelf) == 0


@pytest.mark.parametrize("fails", ["llama_state_seq_set_data_ext", "llama_state_seq_get_data_ext"])
def test_where_llama_cpp_cannot_copy_the_prompt_is_read_again(
    opened: Open, monkeypatch: pytest.MonkeyPatch, fails: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine, conversations, shelf = opened()
    read(engine, conversations, A)
    monkeypatch.setattr(binding.lib, fails, lambda *_: 0)
    read(engine, conversations, B)
    assert read(engine, conversations, [*A, 7]) == len(A) + 1
    assert np.allclose(engine.logits(), fresh_logits(engine.path, [*A, 7]), atol=TOLERANCE)
    assert not any(kept.ids.tolist() == A for kept in shelf.of(engine))
    assert "of a conversation could not be" in caplog.text


def test_a_state_that_was_damaged_in_memory_is_not_taken_for_one(opened: Open) -> None:
    engine, conversations, shelf = opened()
    read(engine, conversations, A)
    read(engine, conversations, B)
    (kept,) = shelf.of(engine)
    kept.content = kept.content._replace(length=len(A) + 1)
    assert read(engine, conversations, [*A, 7]) == len(A) + 1
    assert np.allclose(engine.logits(), fresh_logits(engine.path, [*A, 7]), atol=TOLERANCE)


def test_where_there_is_no_memory_for_a_copy_there_is_none(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any) -> None:
        raise MemoryError

    engine, conversations, shelf = opened()
    read(engine, conversations, A)
    with monkeypatch.context() as patch:
        patch.setattr("glimp_local.engines.llama.cache.np.empty", short)
        read(engine, conversations, B)
    assert len(shelf) == 0


def test_drafted_tokens_are_not_put_aside(opened: Open) -> None:
    engine, conversations, shelf = opened()
    read(engine, conversations, A)
    engine.decode(C[0], C[50:54])
    read(engine, conversations, B)
    (kept,) = shelf.of(engine)
    assert kept.ids.tolist() == [*A, C[0]]
    assert read(engine, conversations, [*A, *C[:10]]) == 9
    assert np.allclose(engine.logits(), fresh_logits(engine.path, [*A, *C[:10]]), atol=TOLERANCE)


def test_what_is_forgotten_is_read_again(opened: Open) -> None:
    engine, conversations, shelf = opened()
    read(engine, conversations, A)
    read(engine, conversations, B)
    conversations.forget()
    assert len(shelf) == 0
    assert read(engine, conversations, A) == len(A)


def test_on_a_shelf_for_one_conversation_side_requests_do_not_take_its_place(opened: Open) -> None:
    engine, conversations, shelf = opened()
    engine.feed(A)
    engine, conversations, shelf = opened(limit_bytes=engine.copy_bytes * 3 // 2)
    read(engine, conversations, A)
    for first in range(3):
        conversations.begin([first, *A], lasting=None, goes_on=False)
        engine.sync([first, *A])
    assert len(shelf) == 1
    assert read(engine, conversations, [*A, 7]) == 1


@pytest.mark.parametrize("catch_up", ["lazy", "eager"])
@pytest.mark.parametrize("draft", ["off", "auto"])
def test_sessions_that_take_turns_find_both_models_caches_right(catch_up: str, draft: str) -> None:
    one, other = (problem.text for problem in read_problems("builtin")[:2])
    settings: Any = {"sampling": {"temperature": 0}, "catch_up": catch_up, "draft": draft}
    with load_pair("builtin", policy="random", share=0.5, **settings) as pair:
        first = run(pair, one)
        pair.forget()
        pair.keep_conversations(ROOM)
        for question in (one, other):
            run(pair, question)
        assert pair.shelf is not None
        assert len(pair.shelf) == 2
        session = Session(pair, seed=1)
        again = fold(session.ask(one))
        assert again.answer == first.answer
        for stats, before in ((again.stats.small, first.stats.small), (again.stats.large, first.stats.large)):
            assert stats is not None
            assert before is not None
            assert stats.prefill_tokens <= 1 < before.prefill_tokens + before.along_tokens
        assert_caches_equal_fresh_runs(session)
        pair.forget()
        assert len(pair.shelf) == 0
