"""`glimp calibrate`: thresholds for shares, what is stored, and what is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimp_local.bench.calibration import Cut, cuts
from glimp_local.models.catalogue import load_catalogue
from glimp_local.paths import user_file
from glimp_local.routing import Share
from tests.support.commands import Glimp, Result
from tests.support.entropies import history_of

Calibrate = Callable[..., Result]


@pytest.fixture
def calibrate(glimp: Glimp, tmp_path: Path) -> Calibrate:
    """Calibrate the tiny models on three problems, which have no answers: none are needed."""
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps({"problem": f"How many, {name}?"}) + "\n" for name in "abc"))
    return lambda *arguments: glimp("calibrate", path, "-q", *glimp.pair(), *arguments)


def interval(cut: Cut) -> tuple[float, float]:
    assert cut.low_nats is not None
    assert cut.high_nats is not None
    return cut.low_nats, cut.high_nats


def test_a_cut_sends_its_share_of_the_entropies() -> None:
    rng = np.random.default_rng(1)
    problems = [rng.exponential(1, 50).tolist() for _ in range(20)]
    every = np.concatenate(problems)
    for cut in cuts(problems):
        assert (every > cut.threshold_nats).mean() == pytest.approx(cut.share, abs=0.002)
        low, high = interval(cut)
        # Of an exponential distribution the quantile is known.
        assert low < -np.log(cut.share) < high
        assert low <= cut.threshold_nats <= high


def test_the_interval_is_that_of_the_problems_not_of_the_steps() -> None:
    alike = cuts([[float(i)] * 100 for i in range(6)], [0.5])[0]
    low, high = interval(alike)
    assert high - low >= 2
    mixed = cuts([[float(i % 6) for i in range(100)]] * 6, [0.5])[0]
    low, high = interval(mixed)
    assert high - low <= 1


def test_all_steps_and_none_have_a_threshold_too() -> None:
    everything, nothing = cuts([[0.5, 1.0]], [1.0, 0.0])
    assert everything.low_nats is everything.high_nats is None  # one problem alone
    assert everything.threshold_nats == 0.0
    assert nothing.threshold_nats == 1.0
    with pytest.raises(ValueError, match="nothing was glimpsed"):
        cuts([[], []])


@given(st.lists(st.floats(0, 12), min_size=1, max_size=60), st.floats(0, 1))
def test_a_rounded_threshold_sends_no_more_than_its_share(entropies: list[float], share: float) -> None:
    (cut,) = cuts([entropies, []], [share])
    assert sum(nats > cut.threshold_nats for nats in entropies) <= share * len(entropies)


def test_calibrating_prints_the_thresholds_and_stores_the_entropies(
    calibrate: Calibrate, small: Path, large: Path
) -> None:
    result = calibrate()
    assert result.code == 0, result.err
    assert "12 glimpses in 3 problems" in result.out
    assert "These are few" in result.out
    history = history_of(small, large).read()
    assert len(history) == 12
    assert Share(0.25, threshold_nats=9.0, history=history).threshold_nats < 9.0
    # Another time takes the place of the first.
    calibrate("--limit", "1")
    assert len(history_of(small, large).read()) == 4


def test_problems_that_are_too_long_are_refused(glimp: Glimp, small: Path, large: Path) -> None:
    result = glimp("calibrate", "-q", *glimp.pair())
    assert result.code == 2
    assert "more than half of the context" in result.err
    assert history_of(small, large).read() == []


def test_problems_that_are_not_for_the_pair_are_said_once(glimp: Glimp, tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text('{"problem": "What is the capital of France?"}\n{"problem": "Why is the sky blue?"}\n')
    result = glimp("calibrate", path, "-q", "--max-thought", "64")
    assert result.err.count("is not for the pair 'builtin': it has no number") == 1
    assert "2 of 2 problems are not for this pair" in result.err


def test_tasks_are_kept_apart(calibrate: Calibrate, small: Path, large: Path) -> None:
    calibrate("--task", "stories")
    assert history_of(small, large).read() == []
    assert len(history_of(small, large, task="stories").read()) == 12


def test_the_json_has_the_figures_and_the_agreement(calibrate: Calibrate) -> None:
    result = calibrate("--agreement", "--json", "--share", "0.25", "--seed", str(2**32 - 1))
    found = json.loads(result.out)
    assert [cut["share"] for cut in found["cuts"]] == [0.05, 0.1, 0.2, 0.3, 0.5]
    assert found["chosen"]["share"] == 0.25
    assert found["glimpses"] == found["agreement"]["glimpses"] == 12
    # One step of four, the one the small model is unsure of, would be begun otherwise.
    assert found["agreement"]["otherwise"] == 0.25
    assert found["agreement"]["auroc"]["value"] == 1.0
    assert found["share_at_threshold"] == 0.25


def test_write_puts_the_threshold_where_the_pair_takes_it_from(glimp: Glimp, home: Path) -> None:
    result = glimp("calibrate", "--limit", "3", "-q", "--write", "--share", "0.1", "--json")
    found = json.loads(result.out)
    assert found["written"] == str(user_file())
    assert load_catalogue().pair("builtin").threshold == found["chosen"]["threshold_nats"]
    assert home in user_file().parents


def test_write_wants_a_pair_with_a_name(calibrate: Calibrate) -> None:
    result = calibrate("--write")
    assert result.code == 2
    assert "--write wants a pair that has a name" in result.err
