from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.proportion import proportion_confint

from glimp_local.bench.plots import pareto
from glimp_local.bench.statistics import (
    _adjusted,
    auroc,
    clustered_auroc,
    clustered_rate,
    difference,
    mcnemar,
    rate,
    ratio,
)

RNG = np.random.default_rng(7)
RIGHT = RNG.random(60) < 0.7
RIGHT_TOO = np.where(RNG.random(60) < 0.8, RIGHT, ~RIGHT)
ONE, OTHER = RIGHT.astype(float), RIGHT_TOO.astype(float)


@pytest.mark.parametrize(("right", "of"), [(0, 5), (3, 20), (188, 200), (40, 40), (1, 1)])
def test_a_rate_has_wilsons_interval(right: int, of: int) -> None:
    found = rate([1.0] * right + [0.0] * (of - right))
    low, high = proportion_confint(right, of, method="wilson")
    assert found.value == right / of
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_a_rate_over_repeats_comes_to_what_the_central_limit_says() -> None:
    values = RNG.choice([0.0, 0.25, 0.5, 1.0], 80)
    found = rate(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(values.size)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_a_rate_over_repeats_is_not_sure_of_a_handful() -> None:
    found = rate([0.5, 0.5])
    assert found.low < 0.2
    assert found.high > 0.8
    # Of single runs the interval is Agresti and Coull's, which statsmodels has.
    low, high = proportion_confint(3, 20, method="agresti_coull")
    assert _adjusted(np.array([1.0] * 3 + [0.0] * 17), (0.0, 0.0, 1.0, 1.0)) == pytest.approx((low, high), abs=0.01)


def test_cases_of_one_cluster_count_as_little_as_they_say() -> None:
    clustered = clustered_rate([[i % 4 > 0] * 30 for i in range(20)])
    single = rate([float(i % 4 > 0) for i in range(20) for _ in range(30)])
    of_clusters = rate([float(i % 4 > 0) for i in range(20)])
    assert clustered is not None
    assert clustered.value == single.value == 0.75
    assert clustered.high - clustered.low > 4 * (single.high - single.low)
    assert clustered.high - clustered.low == pytest.approx(of_clusters.high - of_clusters.low, abs=0.1)
    assert clustered_rate([[], [True], [True]]) == rate([1.0, 1.0])
    assert clustered_rate([[]]) is None


def test_a_paired_difference_agrees_with_the_paired_t_interval() -> None:
    found = difference(np.tile(ONE, 10), np.tile(OTHER, 10))
    delta = np.tile(ONE - OTHER, 10)
    low, high = stats.t.interval(0.95, delta.size - 1, delta.mean(), stats.sem(delta))
    assert found.value == pytest.approx(delta.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.003)


def test_a_paired_difference_is_bonett_and_prices() -> None:
    # Their formula, with the 2 x 2 table's off-diagonal cells: 6 won and 2 lost of 20.
    found = difference([1.0] * 6 + [0.0] * 2 + [1.0] * 12, [0.0] * 6 + [1.0] * 2 + [1.0] * 12)
    won, lost = 7 / 22, 3 / 22
    half = 1.959964 * math.sqrt((won + lost - (won - lost) ** 2) / 22)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, won - lost - half, won - lost + half), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("problems", [5, 20, 60])
@pytest.mark.parametrize(("won", "lost"), [(0.02, 0.02), (0.1, 0.05), (0.3, 0.1)])
def test_a_difference_s_interval_holds_the_truth_as_often_as_it_says(problems: int, won: float, lost: float) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        drawn = rng.choice([1.0, -1.0, 0.0], problems, p=[won, lost, 1 - won - lost])
        found = difference(drawn, np.zeros(problems))
        held += found.low <= won - lost <= found.high
    assert held / 2000 > 0.935


def test_where_no_problem_differs_the_interval_is_still_not_empty() -> None:
    found = difference([1.0, 0.0, 1.0], [1.0, 0.0, 1.0])
    assert found.value == 0.0
    assert found.low == pytest.approx(-found.high)
    assert found.high > 0.5


def test_a_handful_of_problems_proves_little() -> None:
    one_won = difference([1.0, 1.0], [0.0, 1.0])
    assert one_won.low < -0.3
    all_won = difference([1.0] * 4, [0.0] * 4)
    assert all_won.high == 1.0
    assert 0 < all_won.low < 0.4


def test_mcnemars_test_is_statsmodels() -> None:
    table = [[int((a & b).sum()) for b in (RIGHT_TOO, ~RIGHT_TOO)] for a in (RIGHT, ~RIGHT)]
    assert mcnemar(ONE, OTHER) == pytest.approx(reference_mcnemar(table, exact=True).pvalue)
    assert mcnemar(ONE, ONE) == 1.0


def test_a_ratio_of_times_is_paired() -> None:
    large = RNG.gamma(4, 2, 50)
    found = ratio(0.6 * large, large)
    assert (found.value, found.low, found.high) == pytest.approx((0.6, 0.6, 0.6))
    noise = RNG.normal(1, 0.1, 50)
    noisy = ratio(0.6 * large * noise, large)
    # scipy's own bootstrap of the pairs comes to the same.
    pairs = (0.6 * large * noise, large)
    drawn = stats.bootstrap(pairs, lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis), paired=True, rng=0)
    assert (noisy.low, noisy.high) == pytest.approx(tuple(drawn.confidence_interval), abs=0.005)
    two = ratio([0.5, 0.6], [1.0, 1.0])
    assert two.high > 1  # of two problems nothing is known
    alone = ratio([2.0], [1.0])
    assert (alone.value, alone.low, alone.high) == (2.0, 0.0, math.inf)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
def test_the_auroc_counts_pairs(cases: list[tuple[int, bool]]) -> None:
    positive, negative = ([score for score, kind in cases if kind is wanted] for wanted in (True, False))
    found = auroc([score for score, _ in cases], [kind for _, kind in cases])
    if not positive or not negative:
        assert math.isnan(found)
        return
    won = sum((p > n) + (p == n) / 2 for p in positive for n in negative)
    assert found == pytest.approx(won / (len(positive) * len(negative)))


@pytest.mark.slow
def test_the_auroc_of_clusters_has_a_wider_interval_than_that_of_single_cases() -> None:
    # All the cases of a cluster are alike: ten clusters say no more than ten cases.
    scores = [[float(i)] * 30 for i in range(10)]
    positive = [[i in {3, 6, 7, 8, 9}] * 30 for i in range(10)]
    clustered = clustered_auroc(scores, positive)
    single = clustered_auroc([[s] for of in scores for s in of], [[p] for of in positive for p in of])
    assert clustered.value == single.value == pytest.approx(23 / 25)
    assert clustered.high - clustered.low > 2 * (single.high - single.low)


def test_an_auroc_of_one_kind_is_no_number() -> None:
    assert math.isnan(clustered_auroc([[1.0], [2.0]], [[True], [True]]).value)


def test_the_pareto_front_holds_what_no_other_beats() -> None:
    assert pareto([(3, 0.9), (1, 0.2), (2, 0.9), (2, 0.5), (4, 0.95)]) == [(1, 0.2), (2, 0.9), (4, 0.95)]
