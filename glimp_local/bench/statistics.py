"""Intervals and tests: scipy's, put into the few forms a bench needs. All intervals are of 95%.

What is drawn by a bootstrap is drawn with a fixed seed: the same runs give the same report.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import stats

LEVEL = 0.95
_DRAWS = 9999
_SLOW_DRAWS = 1999
"""Where each draw is a computation of its own."""

Values = Sequence[float] | npt.NDArray[np.float64]


class Estimate(msgspec.Struct, frozen=True):
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float


def rate(right: Values) -> Estimate:
    """Estimate the share of right answers.

    `right` has a value from 0 to 1 for each problem, the mean of its repeats. Where all are 0 or 1 the interval is
    Wilson's (scipy.stats.binomtest); else it is a bootstrap over the problems.
    """
    values = np.asarray(right, dtype=np.float64)
    if np.isin(values, (0.0, 1.0)).all() or np.ptp(values) == 0:
        low, high = stats.binomtest(round(values.sum()), values.size).proportion_ci(LEVEL, method="wilson")
        return Estimate(float(values.mean()), float(low), float(high))
    return _bootstrap(values)


def difference(one: Values, other: Values) -> Estimate:
    """Estimate the mean difference of two arms on the same problems, paired, by a bootstrap over the problems.

    Where all problems differ alike, or none does, there is nothing to draw from: then the interval reaches as far as
    the share of problems that could differ otherwise (Clopper-Pearson).
    """
    delta = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    if np.ptp(delta) == 0:
        value = float(delta[0])
        reach = float(stats.binomtest(0, delta.size).proportion_ci(LEVEL, method="exact").high)
        return Estimate(value, max(value - reach, -1.0), min(value + reach, 1.0))
    return _bootstrap(delta)


def mcnemar(one: Values, other: Values) -> float:
    """Give the exact McNemar test's two-sided p value: were the problems that differ won evenly?

    Of problems that were repeated, the means are compared (the sign test).
    """
    delta = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    won, differ = int((delta > 0).sum()), int((delta != 0).sum())
    return float(stats.binomtest(won, differ).pvalue) if differ else 1.0


def ratio(one: Values, other: Values) -> Estimate:
    """Estimate the ratio of two arms' sums on the same problems, paired, by a bootstrap over the problems."""
    pair = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    value = float(pair[0].sum() / pair[1].sum())
    if pair[0].size == 1:
        return Estimate(value, 0.0, np.inf)

    def statistic(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
        sums: npt.NDArray[np.float64] = a.sum(axis=axis) / b.sum(axis=axis)
        return sums

    found = stats.bootstrap(
        pair, statistic, paired=True, n_resamples=_DRAWS, confidence_level=LEVEL, method="percentile", rng=0
    )
    return Estimate(value, float(found.confidence_interval.low), float(found.confidence_interval.high))


def auroc(scores: Values, positive: Sequence[bool] | npt.NDArray[np.bool_]) -> float:
    """Give the probability that a positive case has the higher score of two (Mann-Whitney's U, ties by halves).

    Not a number where all cases are of one kind.
    """
    values, is_positive = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    count = int(is_positive.sum()) * int((~is_positive).sum())
    if not count:
        return float("nan")
    return float(stats.mannwhitneyu(values[is_positive], values[~is_positive]).statistic / count)


def clustered_auroc(scores: Sequence[Values], positive: Sequence[Sequence[bool]]) -> Estimate:
    """Estimate the AUROC of cases that hang together in clusters (the steps of one problem).

    The interval is a bootstrap over whole clusters. Not a number where all cases are of one kind.
    """

    def of(drawn: npt.NDArray[np.intp]) -> float:
        return auroc(np.concatenate([scores[i] for i in drawn]), np.concatenate([positive[i] for i in drawn]))

    every = np.arange(len(scores))
    value = of(every)
    if np.isnan(value) or every.size == 1:
        return Estimate(value, float("nan"), float("nan"))
    with warnings.catch_warnings():
        # A draw in which all cases are of one kind has no AUROC; it is left out below.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (every,), of, vectorized=False, n_resamples=_SLOW_DRAWS, confidence_level=LEVEL, method="percentile", rng=0
        )
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(found.bootstrap_distribution, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def _bootstrap(values: npt.NDArray[np.float64]) -> Estimate:
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=_DRAWS, confidence_level=LEVEL, method="percentile", rng=0
    ).confidence_interval
    return Estimate(float(values.mean()), float(found.low), float(found.high))
