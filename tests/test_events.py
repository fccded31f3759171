"""The records: what they look like as JSON, and how a run folds into one object."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimp_local.events import ModelStats, Rewound, Text, decode_events, encode, fold, last_boxed


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("The answer is \\boxed{42}.", "42"),
        ("\\boxed{1} or rather \\boxed{2}", "2"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{7} and then \\boxed{8", "7"),
        ("\\boxed{}", ""),
        ("no box", None),
        ("\\boxed 5", None),
        ("\\boxed{", None),
    ],
)
def test_the_last_complete_box_is_found(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@given(st.text(alphabet="ab{}\\ ", max_size=30))
def test_a_box_s_content_is_part_of_the_text(text: str) -> None:
    content = last_boxed(text + "\\boxed{x}" + text)
    assert content is None or content in text + "\\boxed{x}" + text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_events_survive_the_way_through_json(text: str) -> None:
    events = [Text(3, "thought", text), Rewound(1)]
    lines = [encode(event) for event in events]
    assert not any(b"\n" in line for line in lines)
    assert decode_events(lines) == events


def test_the_type_of_an_event_is_its_name() -> None:
    assert encode(Text(0, "answer", "x")) == b'{"type":"text","index":0,"part":"answer","text":"x"}'


def test_a_run_without_an_end_does_not_fold() -> None:
    with pytest.raises(ValueError, match="finished run"):
        fold([Rewound(0)])


def test_a_few_tries_to_draft_that_did_not_pay_are_not_worth_telling() -> None:
    def stats(drafted: int, speedup: float | None) -> ModelStats:
        return ModelStats("a", 1, 100, 0, 0.0, 0, 0.0, 0.0, 0.0, 1.0, drafted=drafted, draft_speedup=speedup)

    assert not stats(0, None).is_drafted
    assert not stats(9, 0.97).is_drafted
    assert stats(40, 1.4).is_drafted
