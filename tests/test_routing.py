"""Who writes a step under each policy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimp_local.routing import Alone, Glimpse, Random, Share, Threshold

entropies = st.floats(0, 12, allow_nan=False)


def seen(entropy_nats: float) -> Glimpse:
    return Glimpse(entropy_nats, 0.5, 0.1)


@given(entropies, entropies)
def test_only_an_entropy_above_the_threshold_goes_to_the_large_model(entropy: float, threshold: float) -> None:
    decision = Threshold(threshold).decide(seen(entropy))
    assert decision.model == ("large" if entropy > threshold else "small")
    assert decision.reason == ("uncertain" if entropy > threshold else "confident")
    assert decision.threshold_nats == threshold


def test_equality_goes_to_the_small_model() -> None:
    assert Threshold(1.0).decide(seen(1.0)).model == "small"


def test_a_threshold_without_a_glimpse_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="needs a glimpse"):
        Threshold(1.0).decide(None)


@given(st.lists(entropies, min_size=200, max_size=200, unique=True), st.sampled_from([0.1, 0.25, 0.5, 0.8]))
def test_share_reaches_its_aim_on_entropies_like_those_of_its_history(values: list[float], share: float) -> None:
    policy = Share(share, threshold_nats=1.0, history=values)
    large = sum(policy.decide(seen(value)).model == "large" for value in values)
    assert large / len(values) == pytest.approx(share, abs=0.1)


def test_share_learns_from_the_steps_it_sees() -> None:
    policy = Share(0.2, threshold_nats=1.0)
    decisions = [policy.decide(seen(3 + (i * 7 % 10) / 10)).model for i in range(200)]
    # The first ten meet the fixed threshold and all go to the large model; then the quantile holds.
    assert decisions[:10] == ["large"] * 10
    assert decisions[50:].count("large") / 150 == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize(("share", "expected"), [(0.0, "small"), (1.0, "large")])
def test_the_extreme_shares_know_one_writer(share: float, expected: str) -> None:
    policy = Share(share, threshold_nats=1.0, history=[float(i) for i in range(50)])
    assert {policy.decide(seen(i % 40 + 0.5)).model for i in range(80)} == {expected}


def test_a_step_s_own_entropy_counts_only_for_later_steps() -> None:
    policy = Share(0.5, threshold_nats=1.0, history=[1.0] * 10)
    assert policy.decide(seen(5.0)).threshold_nats == 1.0


@pytest.mark.parametrize("model", ["small", "large"])
def test_one_model_alone_writes_everything(model: str) -> None:
    policy = Alone("small" if model == "small" else "large")
    assert policy.models == (model,)
    assert {policy.decide(seen(h)).model for h in (0, 9)} | {policy.decide(None).model} == {model}


@given(st.floats(0, 1), st.integers(0, 2**31))
def test_random_is_repeatable_and_near_its_share(share: float, seed: int) -> None:
    first, second = Random(share, seed), Random(share, seed)
    decisions = [first.decide(seen(0)).model for _ in range(400)]
    assert decisions == [second.decide(seen(9)).model for _ in range(400)]
    assert decisions.count("large") / 400 == pytest.approx(share, abs=5 * math.sqrt(0.25 / 400))
