"""Intervals and tests: scipy's, put into the few forms a bench needs. All intervals are of 95%.

Those of shares and differences hold for a handful of problems, too, and where all are alike. What is drawn by a
bootstrap is drawn with a fixed seed: the same runs give the same report.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import stats

LEVEL = 0.95
_DRAWS = 1999

Values = Sequence[float] | npt.NDArray[np.float64]


class Estimate(msgspec.Struct, frozen=True):
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float


def rate(right: Values) -> Estimate:
    """Estimate the share of right answers.

    `right` has a value from 0 to 1 for each problem, the mean of its repeats. Where all are 0 or 1 the interval is
    Wilson's (scipy.stats.binomtest); else it is Agresti and Coull's (1998), with the variance of the means.
    """
    values = np.asarray(right, dtype=np.float64)
    if np.isin(values, (0.0, 1.0)).all():
        low, high = stats.binomtest(round(values.sum()), values.size).proportion_ci(LEVEL, method="wilson")
        return Estimate(float(values.mean()), float(low), float(high))
    low, high = _adjusted(values, (0.0, 0.0, 1.0, 1.0))
    return Estimate(float(values.mean()), max(low, 0.0), min(high, 1.0))


def clustered_rate(right: Sequence[Sequence[bool]]) -> Estimate | None:
    """Estimate the share of cases that are right where cases hang together in clusters (the steps of one problem).

    The interval is that of `ratio` over the clusters, or Wilson's where that is wider. None where there is no case.
    """
    filled = [cluster for cluster in right if cluster]
    if not filled:
        return None
    single = rate([float(case) for cluster in filled for case in cluster])
    of_clusters = ratio([sum(cluster) for cluster in filled], [len(cluster) for cluster in filled])
    return Estimate(single.value, min(single.low, of_clusters.low), min(max(single.high, of_clusters.high), 1.0))


def difference(one: Values, other: Values) -> Estimate:
    """Estimate the mean difference of two arms on the same problems, paired.

    The interval is Bonett and Price's (2012, Adjusted Wald confidence interval for a difference of binomial proportions
    based on paired data): two problems are added, one won and one lost. A bootstrap would take the first problem that
    is won, without one lost, for a proof.
    """
    delta = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    low, high = _adjusted(delta, (-1.0, 1.0))
    return Estimate(float(delta.mean()), max(low, -1.0), min(high, 1.0))


def _adjusted(values: npt.NDArray[np.float64], added: tuple[float, ...]) -> tuple[float, float]:
    """Give the normal distribution's interval for a mean, with some values added to those that were seen."""
    all_values = np.concatenate([values, added])
    half = float(stats.norm.ppf((1 + LEVEL) / 2) * all_values.std() / np.sqrt(all_values.size))
    return float(all_values.mean()) - half, float(all_values.mean()) + half


def mcnemar(one: Values, other: Values) -> float:
    """Give the exact McNemar test's two-sided p value: were the problems that differ won evenly?

    Of problems that were repeated, the means are compared (the sign test).
    """
    delta = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    won, differ = int((delta > 0).sum()), int((delta != 0).sum())
    return float(stats.binomtest(won, differ).pvalue) if differ else 1.0


def ratio(one: Values, other: Values) -> Estimate:
    """Estimate the ratio of two sums over the same problems, paired.

    The interval is the ratio estimator's (Cochran 1977, Sampling Techniques, chapter 6): Student's t of the residuals.
    """
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    value = float(a.sum() / b.sum())
    if a.size == 1:
        return Estimate(value, 0.0, np.inf)
    error = float(stats.sem(a - value * b) / b.mean())
    half = float(stats.t.ppf((1 + LEVEL) / 2, a.size - 1)) * error
    return Estimate(value, max(value - half, 0.0), value + half)


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
            (every,), of, vectorized=False, n_resamples=_DRAWS, confidence_level=LEVEL, method="percentile", rng=0
        )
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(found.bootstrap_distribution, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))
