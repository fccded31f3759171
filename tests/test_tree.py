"""A conversation in all its versions: how events fold into them, and the way from one to another."""

from __future__ import annotations

import pytest

from glimp_local.events import AnyEvent, Finished, Fold, Rewound, Selected, Started, StepEnded, TakenBack
from glimp_local.runs import Run
from glimp_local.tree import Tree
from tests.support.tracing import SOLUTION, step


def asked(question: str, turn: str | None = None) -> list[AnyEvent]:
    """Return the events of a turn of three steps."""
    begun = Started(question, "builtin", "threshold", 1, "small", "large", True, 20, turn=turn)
    steps = [StepEnded(step(n, text=f"{question}{n}. ")) for n in range(2)]
    answer = StepEnded(step(2, part="answer", text=f"{question}!"))
    return [begun, *steps, answer, Finished("done", "closed", SOLUTION.stats)]


def folded(*events: AnyEvent) -> Fold:
    folding = Fold()
    for event in events:
        folding.take(event)
    return folding


def told(tree: Tree) -> list[str]:
    """Return the text of each turn, in the version chosen."""
    return ["".join(step.text for step in run.steps) for run in tree.runs]


A, B, C = asked("a", "1"), asked("b", "2"), asked("c", "3")
WHOLE = {name: f"{name}0. {name}1. {name}!" for name in "abcd"}
AGAIN = StepEnded(step(1, reason="redo", text="again. "))


def test_a_redo_of_an_earlier_turn_keeps_what_stood_there_and_behind_it() -> None:
    tree = folded(*A, *B, *C, Rewound(1, "x", "2"), AGAIN).tree
    assert told(tree) == [WHOLE["a"], "b0. again. "]
    versions = tree.siblings(tree.runs[1])
    assert [run.turn for run in versions] == ["2", "x"]
    assert tree.end_of(versions[0]).turn == "3"
    tree.go_to("3")
    assert told(tree) == [WHOLE["a"], WHOLE["b"], WHOLE["c"]]
    assert tree.last is not None
    assert tree.last.finish == "done"
    assert [run.turn for run in tree.siblings(tree.last)] == ["3"]


def test_another_question_in_the_place_of_an_earlier_one_keeps_that_one() -> None:
    tree = folded(*A, *B, TakenBack("1"), *asked("d", "4")).tree
    assert told(tree) == [WHOLE["d"]]
    assert [run.question for run in tree.siblings(tree.runs[0])] == ["a", "d"]
    assert tree.end_of(tree.versions["1"]).turn == "2"


def test_what_comes_after_going_to_another_version_stands_behind_that() -> None:
    tree = folded(*A, *B, TakenBack("2"), *C, Selected("2"), *asked("d", "4")).tree
    assert told(tree) == [WHOLE["a"], WHOLE["b"], WHOLE["d"]]
    assert tree.end_of(tree.versions["3"]).turn == "3"
    assert tree.end_of(tree.versions["1"]).turn == "4"
    tree.go_to("3")
    assert tree.end_of(tree.versions["1"]).turn == "3"


def test_the_last_turn_goes_on_in_the_version_chosen() -> None:
    tree = folded(*A, Rewound(1, "x", "1"), Selected("1"), StepEnded(step(3, part="answer", text=" More."))).tree
    assert told(tree) == [WHOLE["a"] + " More."]
    tree.go_to("x")
    assert told(tree) == ["a0. "]


def test_events_of_an_earlier_glimp_which_names_no_version_fold_into_them_too() -> None:
    nameless = [Rewound(2), StepEnded(step(2, part="answer", text="B!")), TakenBack(), *asked("c"), TakenBack()]
    tree = folded(*asked("a"), *asked("b"), *nameless, *asked("d")).tree
    assert told(tree) == [WHOLE["a"], WHOLE["d"]]
    assert ["".join(step.text for step in run.steps) for run in tree.siblings(tree.runs[1])] == [
        WHOLE["b"],
        "b0. b1. B!",
        WHOLE["c"],
        WHOLE["d"],
    ]


def test_a_version_that_there_is_not_is_refused_and_nothing_has_changed() -> None:
    fold = folded(*A, *B)
    for event in (Selected("x"), TakenBack("x"), Rewound(0, "y", "x")):
        with pytest.raises(ValueError, match="there is no version 'x' of a turn"):
            fold.take(event)
    assert told(fold.tree) == [WHOLE["a"], WHOLE["b"]]


def test_no_version_takes_the_id_of_another() -> None:
    tree = Tree.of(Run("a", turn="1"), Run("b", turn="1"), Run("c"), Run("d", turn="version-4"))
    assert [run.question for run in tree.runs] == ["a", "b", "c", "d"]
    assert len(tree.versions) == 4


def test_behind_a_version_that_is_dropped_comes_what_stood_behind_it() -> None:
    tree = folded(*A, *B, *C).tree
    tree.drop("2")
    assert told(tree) == [WHOLE["a"], WHOLE["c"]]
    assert tree.end_of(tree.runs[0]).turn == "3"
    tree.drop("3")
    assert (tree.at, tree.end_of(tree.runs[0]).turn) == ("1", "1")
    tree.drop("1")
    assert (tree.runs, tree.last) == ([], None)


def test_a_copy_stays_as_it_is() -> None:
    fold = folded(*A, *B)
    copy = fold.tree.copy()
    for event in (Rewound(1, "x", "1"), AGAIN, *C, Selected("2"), AGAIN):
        fold.take(event)
    assert told(copy) == [WHOLE["a"], WHOLE["b"]]
    assert list(copy.versions) == ["1", "2"]
    assert copy.end_of(copy.versions["1"]).turn == "2"
