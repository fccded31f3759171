"""The glimpse's figures against scipy's, and at the edges of floating point."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy

from glimp_local.engines.glimpse import glimpse

Logits = npt.NDArray[np.float32]

finite_logits = arrays(np.float32, st.integers(2, 300), elements=st.floats(-80, 80, width=32))


def reference(logits: Logits) -> float:
    return float(scipy_entropy(softmax(logits.astype(np.float64))))


@given(finite_logits)
def test_entropy_agrees_with_scipy(logits: Logits) -> None:
    assert glimpse(logits).entropy_nats == pytest.approx(reference(logits), abs=2e-5)


@given(finite_logits, st.floats(-1e4, 1e4, width=32))
def test_a_constant_added_to_all_logits_changes_nothing(logits: Logits, shift: float) -> None:
    rounded = np.round(logits)
    moved = rounded + np.float32(round(shift))
    assert glimpse(moved).entropy_nats == pytest.approx(glimpse(rounded).entropy_nats, abs=1e-5)


@given(finite_logits)
def test_probability_and_margin_agree_with_the_sorted_softmax(logits: Logits) -> None:
    first, second = np.sort(softmax(logits.astype(np.float64)))[::-1][:2]
    seen = glimpse(logits)
    assert seen.top1_probability == pytest.approx(first, abs=1e-5)
    assert seen.margin == pytest.approx(first - second, abs=1e-5)


@given(finite_logits, st.integers(1, 40))
def test_top_k_renormalises_the_likeliest(logits: Logits, k: int) -> None:
    kept = np.sort(logits)[-k:]
    assert glimpse(logits, top_k=k).entropy_nats == pytest.approx(reference(kept), abs=2e-5)


def test_a_uniform_distribution_has_the_logarithm_of_its_size() -> None:
    assert glimpse(np.zeros(151_936, np.float32)).entropy_nats == pytest.approx(math.log(151_936), rel=1e-9)


def test_twenty_tokens_have_at_most_ln_20() -> None:
    assert glimpse(np.zeros(1000, np.float32), top_k=20).entropy_nats == pytest.approx(math.log(20))


def test_tokens_ruled_out_with_minus_infinity_count_for_nothing() -> None:
    logits = np.array([1.0, -np.inf, 1.0, -np.inf], np.float32)
    seen = glimpse(logits)
    assert seen.entropy_nats == pytest.approx(math.log(2))
    assert seen.margin == 0


def test_one_possible_token_is_certain() -> None:
    seen = glimpse(np.array([-np.inf, 3.0, -np.inf], np.float32))
    assert (seen.entropy_nats, seen.top1_probability, seen.margin) == (0, 1, 1)


def test_the_largest_logits_do_not_overflow() -> None:
    seen = glimpse(np.array([3e38, 3e38, -3e38], np.float32))
    assert seen.entropy_nats == pytest.approx(math.log(2))


def test_a_long_tail_is_summed_in_double_precision() -> None:
    logits = np.full(1_000_000, -14.0, np.float32)
    logits[7] = 0.0
    assert glimpse(logits).entropy_nats == pytest.approx(reference(logits), rel=1e-6)


def test_the_logits_are_left_as_they_are() -> None:
    logits = np.array([0.5, -np.inf, 2.0], np.float32)
    before = logits.copy()
    glimpse(logits)
    glimpse(logits, top_k=2)
    assert np.array_equal(logits, before)


@pytest.mark.parametrize("bad", [[-np.inf, -np.inf], [np.nan, 1.0], [1.0, np.inf]])
def test_no_distribution_is_an_error(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="no distribution"):
        glimpse(np.array(bad, np.float32))
