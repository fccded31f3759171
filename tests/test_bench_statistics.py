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
from glimp_local.bench.statistics import auroc, clustered_auroc, difference, mcnemar, rate, ratio

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


def test_a_rate_over_repeats_is_drawn_from_the_problems() -> None:
    values = RNG.choice([0.0, 0.25, 0.5, 1.0], 80)
    found = rate(values)
    # Many problems: the bootstrap comes to what the central limit says.
    half = 1.96 * values.std(ddof=1) / math.sqrt(values.size)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_a_paired_difference_agrees_with_the_paired_t_interval() -> None:
    found = difference(ONE, OTHER)
    delta = ONE - OTHER
    low, high = stats.t.interval(0.95, delta.size - 1, delta.mean(), stats.sem(delta))
    assert found.value == pytest.approx(delta.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


def test_where_no_problem_differs_the_interval_is_still_not_empty() -> None:
    found = difference([1.0, 0.0, 1.0], [1.0, 0.0, 1.0])
    _, high = proportion_confint(0, 3, method="beta")
    assert (found.value, found.low, found.high) == pytest.approx((0.0, -high, high))


def test_where_all_problems_differ_alike_the_interval_is_still_not_empty() -> None:
    found = difference([1.0] * 8, [0.0] * 8)
    low, _ = proportion_confint(8, 8, method="beta")
    assert (found.value, found.low, found.high) == pytest.approx((1.0, low, 1.0))


def test_mcnemars_test_is_statsmodels() -> None:
    table = [[int((a & b).sum()) for b in (RIGHT_TOO, ~RIGHT_TOO)] for a in (RIGHT, ~RIGHT)]
    assert mcnemar(ONE, OTHER) == pytest.approx(reference_mcnemar(table, exact=True).pvalue)
    assert mcnemar(ONE, ONE) == 1.0


def test_a_ratio_of_times_is_paired() -> None:
    large = RNG.gamma(4, 2, 50)
    found = ratio(0.6 * large, large)
    assert (found.value, found.low, found.high) == pytest.approx((0.6, 0.6, 0.6))
    noisy = ratio(0.6 * large * RNG.normal(1, 0.1, 50), large)
    assert noisy.low < noisy.value < noisy.high < 0.7
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
