"""The records: what they look like as JSON, and how a run folds into one object."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimp_local.events import (
    AnyEvent,
    Finished,
    Fold,
    ModelStats,
    Notice,
    Rewound,
    Started,
    StepEnded,
    StepStarted,
    TakenBack,
    Text,
    decode_events,
    encode,
    fold,
    last_boxed,
)
from tests.support.tracing import SOLUTION, step


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


def started(question: str, system: str | None = None) -> Started:
    return Started(question, "builtin", "threshold", 1, "small", "large", True, 20, system)


def test_a_run_without_an_end_does_not_fold() -> None:
    finished = Finished("done", "closed", SOLUTION.stats)
    cases: list[list[AnyEvent]] = [
        [],
        [Rewound(0)],
        [finished],
        [started("?")],
        [started("?"), finished, StepEnded(step())],
    ]
    for events in cases:
        with pytest.raises(ValueError, match="finished run"):
            fold(events)


def test_a_question_asked_instead_of_another_folds_into_a_run_of_its_own() -> None:
    folding = Fold()
    for event in (started("a"), StepEnded(step(0)), started("b"), Notice("x"), TakenBack(), started("c", "Be brief.")):
        folding.take(event)
    assert [(run.question, run.system, len(run.steps), run.notices) for run in folding.runs] == [
        ("a", None, 1, []),
        ("c", "Be brief.", 0, []),
    ]


def test_a_step_being_written_is_known_until_it_ends_or_is_void() -> None:
    folding = Fold()
    fields = {name: getattr(step(0), name) for name in StepStarted.__struct_fields__}
    for event in (started("a"), StepStarted(**fields), Text(0, "thought", "So"), Text(0, "thought", " far")):
        folding.take(event)
    (run,) = folding.runs
    assert run.begun is not None
    assert (run.begun.index, run.begun.model, run.begun.text) == (0, "small", "So far")
    folding.take(StepEnded(step(0)))
    assert folding.runs[0].begun is None
    folding.take(StepStarted(**fields))
    folding.take(Rewound(0))
    assert (folding.runs[0].begun, folding.runs[0].steps) == (None, [])


def test_an_event_without_a_run_is_refused() -> None:
    with pytest.raises(ValueError, match="a run whose beginning is missing"):
        Fold().take(Notice("x"))


def test_a_few_tries_to_draft_that_did_not_pay_are_not_worth_telling() -> None:
    def stats(drafted: int, speedup: float | None) -> ModelStats:
        return ModelStats("a", 1, 100, 0, 0.0, 0, 0.0, 0.0, 0.0, 1.0, drafted=drafted, draft_speedup=speedup)

    assert not stats(0, None).is_drafted
    assert not stats(9, 0.97).is_drafted
    assert stats(40, 1.4).is_drafted
