"""The shelf: how much it keeps, of whom, and what it lets go of first."""

from __future__ import annotations

import numpy as np
import pytest

from glimp_local.engines.shelf import Kept, Shelf, common_length, reach, tokens_of

SMALL, LARGE = "small", "large"


def put(shelf: Shelf, first: int, *, owner: str = SMALL, size: int = 40, goes_on: bool = True) -> Kept:
    """Keep a hundred tokens from `first` on."""
    assert shelf.make_room(size, goes_on=goes_on, beside=None)
    kept = Kept(owner, tokens_of(range(first, first + 100)), None, size, None, goes_on)
    shelf.put(kept)
    return kept


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [([], [1], 0), ([1, 2], [1, 2], 2), ([1, 2], [1, 2, 3], 2), ([1, 2, 3], [1, 4, 3], 1), ([5], [6], 0)],
)
def test_the_common_beginning_is_counted(one: list[int], other: list[int], common: int) -> None:
    assert common_length(tokens_of(one), tokens_of(other)) == common
    assert common_length(tokens_of(other), tokens_of(one)) == common


def test_what_cannot_be_cut_is_left_whole_or_at_a_stop() -> None:
    assert reach(70, 100, None) == 70
    assert reach(100, 100, ()) == 100
    assert reach(99, 100, ()) == 0
    assert reach(70, 100, (20, 60, 80)) == 60


def test_the_best_is_what_spares_most_and_only_of_the_same_model() -> None:
    shelf = Shelf(1000)
    put(shelf, 0)
    second = put(shelf, 1000)
    put(shelf, 1000, owner=LARGE)
    text = tokens_of([*range(1000, 1050), 7])
    assert shelf.best(SMALL, text) == (second, 50)
    assert shelf.best("another", text) == (None, 0)
    assert shelf.best(SMALL, tokens_of([5])) == (None, 0)


def test_what_was_used_longest_ago_goes_first_whosever_it_is() -> None:
    shelf = Shelf(100)
    first, second = put(shelf, 0, owner=LARGE), put(shelf, 1000)
    shelf.use(first)
    third = put(shelf, 2000)
    assert shelf.of(LARGE) == [first]
    assert shelf.of(SMALL) == [third]
    assert second not in shelf.of(SMALL)
    assert (len(shelf), shelf.size_bytes) == (2, 80)


def test_single_questions_push_out_one_another_and_no_conversation() -> None:
    shelf = Shelf(120)
    conversation = put(shelf, 0)
    for number in range(1, 9):
        last = put(shelf, 1000 * number, goes_on=False)
    assert len(shelf) == 3
    assert {conversation, last} < set(shelf.of(SMALL))


def test_a_single_question_is_not_kept_where_only_conversations_could_make_room() -> None:
    shelf = Shelf(70)
    conversation = put(shelf, 0)
    assert not shelf.make_room(40, goes_on=False, beside=None)
    assert shelf.of(SMALL) == [conversation]
    other = put(shelf, 1000)
    assert shelf.of(SMALL) == [other]


def test_nothing_goes_for_what_is_not_kept_in_the_end() -> None:
    shelf = Shelf(80)
    conversation, question = put(shelf, 0), put(shelf, 1000, goes_on=False)
    assert not shelf.make_room(70, goes_on=False, beside=None)
    assert shelf.of(SMALL) == [conversation, question]


def test_a_conversation_left_for_long_makes_room_for_single_questions_all_the_same() -> None:
    shelf = Shelf(120)
    conversation = put(shelf, 0)
    for number in range(1, 40):
        put(shelf, 1000 * number, goes_on=False)
    assert conversation not in shelf.of(SMALL)


def test_what_is_larger_than_the_shelf_is_not_kept_and_pushes_out_nothing() -> None:
    shelf = Shelf(100)
    first = put(shelf, 0)
    assert not shelf.make_room(101, goes_on=True, beside=None)
    assert not shelf.make_room(61, goes_on=True, beside=first)
    assert shelf.make_room(60, goes_on=True, beside=first)
    assert shelf.of(SMALL) == [first]


def test_what_room_is_made_beside_stays() -> None:
    shelf = Shelf(100)
    first, second = put(shelf, 0), put(shelf, 1000)
    assert shelf.make_room(50, goes_on=True, beside=first)
    assert shelf.of(SMALL) == [first]
    assert second.size_bytes == 40


def test_a_model_is_forgotten_without_the_other() -> None:
    shelf = Shelf(100)
    put(shelf, 0)
    other = put(shelf, 0, owner=LARGE)
    shelf.forget(SMALL)
    assert shelf.of(SMALL) == []
    assert shelf.of(LARGE) == [other]


def test_tokens_of_any_sequence_are_numbers_of_four_bytes() -> None:
    assert tokens_of([]).dtype == tokens_of([151_935]).dtype == np.int32
