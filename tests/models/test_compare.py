"""Two models side by side: would they make a pair, and by which hand-over? As the loaded pair does it."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from glimp_local.models.compare import Comparison, compare
from glimp_local.models.gguf.header import read_header
from tests.support.headers import gguf_bytes
from tests.support.sessions import Open
from tests.support.tiny_models import CHATML, LARGE, VOCABULARY, write_story

NAMES = ["small", "large", "padded", "other-vocabulary", "plain", "attention", "hybrid"]


def compared(one: Path, other: Path) -> Comparison:
    return compare(read_header(one), read_header(other))


def test_two_models_of_one_vocabulary_hand_over_token_ids(tiny: Path) -> None:
    found = compared(tiny / "small.gguf", tiny / "large.gguf")
    assert found.verdict == "These two make a pair: they have one vocabulary, so token ids are handed over."
    assert (found.hand_over, found.drafting, found.vocabulary_difference) == ("token ids", True, None)
    assert (found.same_template, found.same_markers, found.needs_template) == (True, True, False)
    assert found.obstacles == ()


def test_two_models_of_different_vocabularies_hand_over_text(tiny: Path) -> None:
    found = compared(tiny / "small.gguf", tiny / "other-vocabulary.gguf")
    assert (
        "their vocabularies differ (the tokens that begin and end a text differ): text is handed over" in found.verdict
    )
    assert (found.hand_over, found.drafting) == ("text", False)


@pytest.mark.parametrize(("one", "other"), list(permutations(NAMES, 2)))
def test_the_hand_over_is_that_of_the_loaded_pair(tiny: Path, open_pair: Open, one: str, other: str) -> None:
    pair = open_pair(one, other)
    found = compared(tiny / f"{one}.gguf", tiny / f"{other}.gguf")
    assert (found.hand_over == "token ids") == pair.shares_vocabulary
    assert any("mark thought in different ways" in notice for notice in found.notices) == any(
        "marks its thought" in notice for notice in pair.notices
    )


def test_published_models_of_two_families_hand_over_text(real_pair: tuple[Path, Path]) -> None:
    found = compared(*real_pair)
    assert found.vocabulary_difference == "49,152 and 151,936 tokens"
    assert (found.same_family, found.same_template) == (False, False)
    assert found.context_tokens == 8192
    assert found.active_ratio is not None
    assert 13 < found.active_ratio < 14


def test_the_one_with_fewer_parameters_is_the_small_one_in_any_order(tiny: Path) -> None:
    paths = tiny / "attention.gguf", tiny / "large.gguf"
    for one, other in (paths, paths[::-1]):
        found = compared(one, other)
        assert found.small.path == str(tiny / "attention.gguf")
        assert found.large.path == str(tiny / "large.gguf")


def test_markers_of_thought_that_one_model_lacks_are_a_notice(tiny: Path) -> None:
    found = compared(tiny / "small.gguf", tiny / "plain.gguf")
    assert (found.same_template, found.same_markers) == (False, False)
    assert any("mark thought in different ways" in notice for notice in found.notices)


def test_a_pair_that_does_not_think_is_told(tiny: Path) -> None:
    found = compared(tiny / "plain.gguf", tiny / "attention.gguf")
    assert found.same_markers
    assert any("over its whole reply" in notice for notice in found.notices)


def test_a_model_without_a_template_needs_one(tiny: Path) -> None:
    found = compared(tiny / "attention.gguf", tiny / "no-template.gguf")
    assert found.needs_template
    assert found.hand_over == "token ids"
    assert "make a pair with --chat-template FILE (the large model has none)" in found.verdict


def test_models_of_one_size_leave_little_to_gain(tiny: Path) -> None:
    found = compared(tiny / "small.gguf", tiny / "large.gguf")
    assert found.active_ratio == 1
    assert any("only 1 times as much" in notice for notice in found.notices)


def test_the_shorter_context_counts(tmp_path: Path, tiny: Path) -> None:
    write_story(tmp_path / "long.gguf", LARGE, vocabulary=VOCABULARY, template=CHATML, context=4096)
    found = compared(tiny / "plain.gguf", tmp_path / "long.gguf")
    assert found.context_tokens == 512
    assert "the shorter context counts: 512 tokens" in found.notices


def test_one_file_twice_makes_no_pair(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "link.gguf").symlink_to(tiny / "small.gguf")
    found = compared(tiny / "small.gguf", tmp_path / "link.gguf")
    assert found.verdict == "These two make no pair: it is one file twice."
    assert (found.hand_over, found.drafting, found.notices) == (None, False, ())


def test_a_file_without_weights_makes_no_pair(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.gguf").write_bytes(gguf_bytes())
    found = compared(tiny / "small.gguf", tmp_path / "empty.gguf")
    assert found.obstacles == ("the small model has no weights", "the small model has no vocabulary that glimp knows")
    assert found.verdict.startswith("These two make no pair: the small model has no weights; ")
    assert found.active_ratio is None
