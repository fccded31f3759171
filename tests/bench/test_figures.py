from __future__ import annotations

import math
import re

import msgspec
import pytest

from glimp_local.bench.arms import KINDS, Arm, make_arms, turned
from glimp_local.bench.figures import Figures, figures
from glimp_local.bench.runs import Look, Looks, Run
from glimp_local.bench.verdict import agreement_in_words, points, verdict
from glimp_local.routing import Random
from tests.support.benching import made_up, model_stats
from tests.support.tracing import step

SMALL, LARGE, ROUTED = Arm("small"), Arm("large"), Arm("threshold", 0.5)
CHANCE = Arm("random", control_of=ROUTED.name)
ARMS = [SMALL, LARGE, ROUTED, CHANCE]


def arm_runs(arm: Arm, right: list[bool], seconds: float, *, wobble: float = 0.1, steps_large: int = 0) -> list[Run]:
    return [
        made_up(
            f"{number}",
            arm.name,
            correct=correct,
            seconds=seconds * (1 + wobble * math.sin(7 * number)),
            steps_large=steps_large,
        )
        for number, correct in enumerate(right)
    ]


def found(routed: list[bool], seconds: float, *, large: float = 1.0, chance: float = 0.3) -> Figures:
    """Compare a routed arm with a large model that is right on 4 of 5 problems in a second."""
    count = len(routed)
    right = [number % 5 > 0 for number in range(count)]
    by_chance = [number < chance * count for number in range(count)]
    return figures(
        ARMS,
        [
            arm_runs(SMALL, [number % 5 == 1 for number in range(count)], 0.4),
            arm_runs(LARGE, right, large, steps_large=10),
            arm_runs(ROUTED, routed, seconds, steps_large=3),
            arm_runs(CHANCE, by_chance, seconds, steps_large=3),
        ],
        [],
    )


def as_right(count: int = 200) -> list[bool]:
    return [number % 5 > 0 for number in range(count)]


def test_the_arms_come_with_their_controls_behind_them() -> None:
    arms = make_arms(("specreason", "random", "small", "large", "share", "threshold"), [0.3, 1, 0.3], [0.2])
    assert [arm.name for arm in arms] == [
        "small",
        "large",
        "threshold 0.3",
        "random as threshold 0.3",
        "threshold 1",
        "random as threshold 1",
        "share 0.2",
        "random as share 0.2",
        "specreason",
    ]
    assert [arm.name for arm in make_arms(("large", "random"), [1], [0.2])] == ["large"]


def test_no_arm_always_follows_the_same_one_and_controls_stay_behind_theirs() -> None:
    arms = make_arms(KINDS, [0.3, 1], [0.2])
    orders = [[arm.name for arm in turned(arms, number)] for number in range(12)]
    assert {order[0] for order in orders} == {arm.name for arm in arms if arm.control_of is None}
    for order in orders:
        assert sorted(order) == sorted(arm.name for arm in arms)
        for arm in arms:
            assert arm.control_of is None or order.index(arm.name) == order.index(arm.control_of) + 1


def test_thresholds_that_are_nearly_alike_are_two_arms() -> None:
    names = [arm.name for arm in make_arms(("threshold",), [0.3, 0.30000001, 2.0], [])]
    assert names == ["threshold 0.3", "threshold 0.30000001", "threshold 2"]


def test_random_draws_at_the_share_that_the_entropy_gave() -> None:
    decided = [step(i, reason="uncertain", model="large") for i in range(3)] + [step(3 + i) for i in range(7)]
    circles = [step(10 + i, reason="loop", model="large") for i in range(10)]
    run = msgspec.structs.replace(made_up("a", ROUTED.name, correct=True).solution, steps=tuple(decided + circles))
    policy = CHANCE.policy([run], seed=1, threshold_nats=1.0, history=[])
    assert isinstance(policy, Random)
    assert policy.share == 0.3


def test_the_figures_of_an_arm_are_those_of_its_runs() -> None:
    runs = [
        made_up(
            "a",
            ROUTED.name,
            correct=True,
            seconds=2.0,
            steps_large=4,
            small=model_stats(tokens=60, prefill_seconds=0.1, decode_seconds=0.3, catch_up_seconds=0.2),
            large=model_stats(
                tokens=50, prefill_seconds=0.2, decode_seconds=0.5, sample_seconds=0.1, network_seconds=0.4
            ),
        ),
        made_up("b", ROUTED.name, correct=False, seconds=4.0, steps_large=2),
    ]
    arm = figures([ROUTED], [runs], []).arms[0]
    assert (arm.runs, arm.correct.value, arm.median_seconds, arm.mean_seconds) == (2, 0.5, 3.0, 3.0)
    assert (arm.share_steps, arm.share_tokens) == (6 / 20, 60 / 200)
    assert (arm.tokens_small, arm.tokens_large) == ((60 + 80) / 2, (50 + 20) / 2)
    assert arm.tokens_per_second == pytest.approx(200 / 6)
    assert arm.catch_up_share == pytest.approx(0.2 / 6)
    assert (arm.seconds.prompt, arm.seconds.small, arm.seconds.large) == pytest.approx((0.15, 0.15, 0.3))
    assert arm.seconds.network == pytest.approx(0.2)
    assert arm.seconds.rest == pytest.approx(3 - 0.15 - 0.15 - 0.3 - 0.1 - 0.2)
    assert arm.less_large is arm.less_random is None


def test_repeats_of_a_problem_count_as_one_problem() -> None:
    runs = [
        made_up(problem, LARGE.name, correct=problem == "a" or repeat == 0, repeat=repeat)
        for repeat in range(2)
        for problem in "ab"
    ]
    result = figures([LARGE], [runs], [])
    assert (result.problems, result.repeats, result.arms[0].runs) == (2, 2, 4)
    assert result.arms[0].correct.value == 0.75


@pytest.mark.parametrize(
    ("routed", "seconds", "said"),
    [
        (as_right(), 0.6, "beats the large model alone: quicker, and as right within 5 points (+0.0 points"),
        ([True] * 200, 0.6, "beats the large model alone: more often right, and quicker (+20.0 points"),
        ([True] * 200, 1.5, "is more often right than the large model alone, and slower"),
        (as_right(), 1.5, "costs more than it saves: slower than the large model alone, and not shown to be more"),
        ([number % 5 > 2 for number in range(200)], 0.6, "trades accuracy for time"),
        ([number % 5 > 2 for number in range(200)], 1.5, "costs more than it saves: less often right than the large"),
        ([number % 5 > 0 for number in range(20)], 0.6, "20 problems cannot tell whether it is as right within 5"),
    ],
)
def test_the_verdict_follows_the_intervals(routed: list[bool], seconds: float, said: str) -> None:
    assert said in verdict(found(routed, seconds))[0]


def test_with_few_glimpses_of_either_kind_the_entropy_tells_nothing_and_one_problem_has_no_interval() -> None:
    for differ, said in ((9, "too few, to say"), (10, "not shown to tell which, AUROC 1.000 (one problem alone")):
        looks = [Looks("a", 0, tuple(Look(float(i < differ), i >= differ) for i in range(40)))]
        found_ = figures([LARGE], [arm_runs(LARGE, [True], 1.0)], looks).agreement
        assert found_ is not None
        assert said in agreement_in_words(found_)


def test_problems_that_nobody_solves_and_a_bench_without_the_large_model_are_said() -> None:
    unsolved = figures([LARGE, ROUTED], [arm_runs(LARGE, [False] * 9, 1.0), arm_runs(ROUTED, [False] * 9, 0.5)], [])
    assert "The large model alone solved none" in verdict(unsolved)[0]
    alone = figures([SMALL], [arm_runs(SMALL, [True] * 9, 1.0)], [])
    assert verdict(alone) == ["Without the policy `large` there is nothing to hold the others against."]


def test_a_handful_of_problems_proves_nothing_however_they_fall() -> None:
    for routed in ([False] * 4, [True] * 4):
        said = verdict(found(routed, 0.6))
        assert "4 problems cannot tell" in said[0]
        assert "These problems cannot tell whether the small model alone is as right" in said[1]


def test_the_number_of_problems_that_could_tell_is_larger_than_that_of_those_that_could_not() -> None:
    for count in (10, 20, 50, 100):
        for lost in range(8):
            said = verdict(found([right and number >= lost for number, right in enumerate(as_right(count))], 0.6))[0]
            wanted = re.search(r"about ([\d,]+) could", said)
            assert wanted is None or int(wanted[1].replace(",", "")) > count


def test_one_problem_has_a_report_too() -> None:
    looks = [Looks("0", 0, (Look(0.1, True), Look(0.2, False)))]
    result = figures([LARGE, ROUTED], [arm_runs(LARGE, [True], 1.0), arm_runs(ROUTED, [False], 0.5)], looks)
    said = verdict(result)
    assert "is not distinguishable" in said[0]
    assert "too much alike, or too few, to say what the entropy tells" in said[-1]


def test_what_cannot_be_told_apart_is_said_to_be_so() -> None:
    result = figures(
        [LARGE, ROUTED],
        [arm_runs(LARGE, as_right(), 1.0), arm_runs(ROUTED, as_right(), 1.0, wobble=-0.1)],
        [],
    )
    assert "is not distinguishable from the large model alone" in verdict(result)[0]


def test_the_verdict_says_what_is_spared_and_what_it_costs() -> None:
    large = [
        made_up(
            f"{i}",
            "large",
            correct=True,
            small=None,
            large=model_stats(tokens=100, decode_seconds=0.9, prefill_seconds=0.1),
        )
        for i in range(30)
    ]
    routed = [
        made_up(
            f"{i}",
            ROUTED.name,
            correct=True,
            seconds=2.0,
            small=model_stats(tokens=100, decode_seconds=0.7, prefill_seconds=0.05),
            large=model_stats(tokens=30, decode_seconds=0.3, prefill_seconds=0.1, catch_up_seconds=0.85),
        )
        for i in range(30)
    ]
    said = verdict(figures([LARGE, ROUTED], [large, routed], []))[0]
    paid = "850 ms for catching up, 700 ms for the small model's writing, 50 ms for reading the prompt"
    assert f"A problem, it saves 600 ms of the large model's writing and pays {paid}" in said
    assert "It writes +30% tokens" in said


@pytest.mark.parametrize(
    ("chance", "said"),
    [(0.3, "Entropy beats random"), (0.8, "cannot be told from random"), (1.0, "does worse than random")],
)
def test_the_control_is_held_against(chance: float, said: str) -> None:
    assert f"{said} routing (30% of the steps on the large model, 30% there)" in " ".join(
        verdict(found(as_right(), 0.6, chance=chance))
    )


def test_a_small_model_that_is_as_good_leaves_nothing_to_win() -> None:
    result = figures([SMALL, LARGE], [arm_runs(SMALL, as_right(), 0.4), arm_runs(LARGE, as_right(), 1.0)], [])
    assert any("here routing has nothing to win" in said for said in verdict(result))
    assert not any("to win" in said for said in verdict(found(as_right(), 0.6)))


def test_agreement_is_counted_over_all_glimpses() -> None:
    looks = [Looks(f"{i}", 0, (Look(0.1, True), Look(0.2 + i, i % 3 > 0), Look(9.0, False))) for i in range(20)]
    agreement = figures([LARGE], [arm_runs(LARGE, as_right(20), 1.0)], looks).agreement
    assert agreement is not None
    assert agreement.glimpses == 60
    assert agreement.otherwise == pytest.approx((20 + 7) / 60)
    assert agreement.auroc.low > 0.5
    assert figures([LARGE], [arm_runs(LARGE, [True], 1.0)], []).agreement is None


def test_no_figure_is_a_negative_zero() -> None:
    assert points(-0.0004) == points(0.0) == "+0.0"
    for said in verdict(found(as_right(), 0.6)):
        assert not re.search(r"-0(\.0+)?\b(?!\.)", said), said
