"""What the built-in pair's figures are worked out with, against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.evaluate import difference, fill, rate


def test_a_rate_has_wilson_s_interval() -> None:
    assert rate(np.array([1.0] * 45 + [0.0] * 5)) == "90.0% (78.6%-95.7%)"


def test_an_interval_stays_within_0_and_100_percent() -> None:
    assert rate(np.ones(10)) == "100.0% (72.2%-100.0%)"
    assert rate(np.zeros(15)) == "0.0% (0.0%-20.4%)"


def test_a_difference_is_taken_story_by_story() -> None:
    one = np.tile([1.0, 0.0], 50)
    middle, low, _, high = difference(np.ones(100), one).replace("(", "").replace(")", "").split()
    # 50 points, and a standard error of 5.
    assert float(middle) == 50
    assert float(low) == pytest.approx(40, abs=1.5)
    assert float(high) == pytest.approx(60, abs=1.5)


def test_figures_are_put_between_their_marks_and_nowhere_else(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\nkept\n<!-- end -->\n")
    fill(card, "one", "new")
    assert card.read_text() == "a\n<!-- one -->\nnew\n<!-- end -->\nb\n<!-- two -->\nkept\n<!-- end -->\n"
    before = card.read_text()
    with pytest.raises(SystemExit, match="no place marked 'three'"):
        fill(card, "three", "new")
    assert card.read_text() == before
