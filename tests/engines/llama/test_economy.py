"""The economy: drafts are computed where that pays, and only there."""

from __future__ import annotations

import random

import pytest

from glimp_local.engines.llama.costs import Costs
from glimp_local.engines.llama.economy import Economy, Guesses
from glimp_local.settings import MAX_DRAFT


class Measured(Economy):
    """An economy that measures what is computed, as an engine does."""

    def __init__(self, priors: list[float]) -> None:
        self.table = Costs()
        super().__init__(priors, self.table)

    def compute(self, tokens: int, seconds: float, drafting_seconds: float = 0.0) -> None:
        self.table.measure(tokens, seconds)
        self.spend(tokens, seconds, drafting_seconds)


def plain(priors: list[float]) -> Measured:
    """An economy that knows that a token costs 1."""
    economy = Measured(priors)
    for _ in range(2):
        economy.compute(1, 1.0)
    return economy


def trained(slope: float, chance: float, *, rounds: int = 300, each_seconds: float = 0.0) -> tuple[Measured, list[int]]:
    """Let an economy write on a machine where each further token of a batch costs `slope` of the first."""
    draw, economy, lengths = random.Random(1), Measured([0.6]), []
    for _ in range(rounds):
        length = economy.best_length([economy.chance(0)] * MAX_DRAFT, each_seconds)
        economy.compute(1 + length, 1 + slope * length, each_seconds * length)
        for _ in range(length):
            came_true = draw.random() < chance
            economy.judge(0, came_true=came_true)
            if not came_true:
                break
        lengths.append(length)
    return economy, lengths


def test_first_a_token_is_computed_by_itself() -> None:
    economy = Measured([1.0])
    assert economy.best_length([1.0] * 5) == 0
    economy.compute(1, 1.0)
    assert economy.best_length([1.0] * 5) == 0, "its graph was built for it"
    economy.compute(1, 1.0)
    assert economy.best_length([1.0] * 9) == 3


def test_longer_drafts_are_tried_where_shorter_ones_are_cheap() -> None:
    longest = {slope: max(trained(slope, 1.0)[1]) for slope in (0.1, 0.4, 1.0)}
    assert longest == {0.1: MAX_DRAFT, 0.4: MAX_DRAFT, 1.0: 3}


def test_where_a_batch_costs_hardly_more_long_drafts_pay() -> None:
    economy, lengths = trained(0.05, 0.9)
    assert sum(lengths[-50:]) / 50 > 6
    assert economy.token_seconds < 0.4


def test_where_each_token_costs_the_same_drafting_is_tried_and_given_up() -> None:
    economy, lengths = trained(1.0, 0.95)
    assert any(lengths[:20])
    assert sum(length > 0 for length in lengths[-200:]) <= 10
    assert economy.token_seconds > 0.9


def test_where_guesses_are_wrong_drafting_is_given_up() -> None:
    _, lengths = trained(0.1, 0.05)
    assert sum(length > 0 for length in lengths[-200:]) <= 10


def test_where_drafting_costs_as_much_as_writing_it_is_given_up() -> None:
    _, lengths = trained(0.1, 0.9, each_seconds=1.0)
    assert not any(lengths)


@pytest.mark.parametrize("slope", [0.02, 0.3, 0.6, 1.0, 1.5])
@pytest.mark.parametrize("chance", [0.2, 0.6, 0.9, 0.99])
@pytest.mark.parametrize(("rounds", "most"), [(600, 1.06), (6000, 1.012)])
def test_on_no_machine_does_it_lose_much(slope: float, chance: float, rounds: int, most: float) -> None:
    _, lengths = trained(slope, chance, rounds=rounds)
    spent = sum(1 + slope * length for length in lengths)
    draw, written = random.Random(2), 0
    for length in lengths:
        written += 1
        for _ in range(length):
            if draw.random() >= chance:
                break
            written += 1
    assert spent / written < most


def test_what_did_not_pay_is_tried_again_when_it_does() -> None:
    economy, _ = trained(1.0, 0.95)
    draw, drafted = random.Random(3), 0
    for _ in range(4000):  # something made batches cheap: a busy machine is idle again
        length = economy.best_length([economy.chance(0)] * MAX_DRAFT)
        economy.compute(1 + length, 1 + 0.1 * length)
        for _ in range(length):
            if not (came_true := draw.random() < 0.95):
                economy.judge(0, came_true=came_true)
                break
            economy.judge(0, came_true=True)
        drafted += length > 0
    assert drafted > 400


def test_one_slow_batch_on_a_busy_machine_changes_little() -> None:
    economy, _ = trained(0.05, 0.9)
    before = economy.best_length([0.9] * MAX_DRAFT)
    economy.compute(1 + before, 50.0)
    assert economy.best_length([0.9] * MAX_DRAFT) >= before - 2


def test_a_token_is_computed_by_itself_now_and_then() -> None:
    _, lengths = trained(0.01, 1.0, rounds=400)
    assert 4 <= sum(length == 0 for length in lengths) <= 8, "two in a row each time: the first one is no measure"


def test_costs_between_two_that_were_measured_lie_on_a_line() -> None:
    economy = plain([0.5])
    economy.compute(5, 9.0)
    assert economy.costs()[3] == pytest.approx(5.0, rel=0.01)
    assert economy.costs()[5] == pytest.approx(9.0, rel=0.01)
    assert len(economy.costs()) == MAX_DRAFT + 2


def test_a_token_behind_a_larger_batch_is_no_measure_of_one_by_itself() -> None:
    economy = plain([0.5])
    economy.compute(4, 2.0)
    economy.compute(1, 5.0)
    assert economy.plain_seconds == 1.0


def in_fours(tokens: int) -> float:
    """What a batch costs where rows beyond a multiple of four are computed one by one."""
    return max(1.0, tokens // 4 + 0.6 * (tokens % 4))


@pytest.mark.parametrize("is_known", [True, False])
def test_drafts_are_as_long_as_the_cheap_batches(is_known: bool) -> None:
    draw, economy, lengths = random.Random(1), Measured([0.6]), []
    for size in range(1, MAX_DRAFT + 2) if is_known else ():
        for _ in range(2):
            economy.table.measure(size, in_fours(size))
    for _ in range(300):
        lengths.append(economy.best_length([economy.chance(0)] * MAX_DRAFT))
        economy.compute(1 + lengths[-1], in_fours(1 + lengths[-1]))
        for _ in range(lengths[-1]):
            came_true = draw.random() < 0.9
            economy.judge(0, came_true=came_true)
            if not came_true:
                break
    assert sum(length in {3, 7, 11, 15} for length in lengths[-100:]) >= 95
    assert economy.token_seconds < 0.4


def test_a_batch_costs_no_more_than_a_larger_one() -> None:
    economy = Economy([0.9], Costs({size: in_fours(size) for size in range(1, MAX_DRAFT + 2)}))
    assert economy.costs()[3] == economy.costs()[4] == 1.0
    assert economy.best_length([0.95] * 2) == 2, "three tokens are padded to four"


def test_what_is_known_from_before_is_not_tried_first() -> None:
    flat, steep = ({size: 1 + slope * (size - 1) for size in range(1, MAX_DRAFT + 2)} for slope in (0.02, 1.2))
    assert Economy([0.9], Costs(flat)).best_length([0.95] * MAX_DRAFT) > 10
    assert Economy([0.9], Costs(steep)).best_length([0.95] * MAX_DRAFT) == 0


def test_what_guesses_are_like_is_learnt_from_few_and_kept() -> None:
    guesses = Guesses()
    assert (guesses.chance, guesses.seconds) == (0.7, None)
    for _ in range(8):
        guesses.add(0.95)
        guesses.spend(0.2)
    assert 0.85 < guesses.chance < 0.9
    assert guesses.seconds == pytest.approx(0.2)
    before = guesses.chance
    guesses.hope()
    assert guesses.chance == before, "they are better than was hoped"


def test_a_guess_that_was_slow_once_does_not_end_the_guessing() -> None:
    guesses, economy = Guesses(), plain([0.9])
    guesses.spend(10.0)  # ten tokens' time: the pages of the file were cold
    assert economy.best_length([0.9] * MAX_DRAFT, guesses.seconds or 0.0) == 0
    for _ in range(300):
        guesses.hope()
    assert economy.best_length([0.9] * MAX_DRAFT, guesses.seconds or 0.0) > 0


def test_guesses_that_did_not_pay_are_hoped_to_become_better() -> None:
    guesses = Guesses()
    for _ in range(200):
        guesses.add(0.2)
    assert guesses.chance < 0.3
    for _ in range(300):
        guesses.hope()
    assert guesses.chance > 0.6
