"""How much memory conversations may take beside a loaded pair."""

from __future__ import annotations

import math
from typing import Literal

import pytest

from glimp_local.machine.plan import CPU, ModelPlan, Part, Plan
from glimp_local.machine.spare import for_conversations

GB = 10**9


def plan(mapped_bytes: int, device: str = CPU) -> Plan:
    part = Part(
        model="small",
        device=device,
        layers=1,
        weights_bytes=mapped_bytes,
        mapped_bytes=mapped_bytes,
        cache_bytes=0,
        compute_bytes=0,
        other_bytes=0,
    )
    return Plan({"small": ModelPlan(0, 1, 512, "f16")}, (part,), (), 512)


@pytest.mark.parametrize(
    ("asked", "free", "given"),
    [
        ("auto", 100 * GB, 2 * GB),
        ("auto", 4 * GB, GB),
        ("auto", 0, 0),
        (3, 4 * GB, 3 * GB),
        (0.5, 4 * GB, GB // 2),
        (0, 4 * GB, 0),
    ],
)
def test_what_is_asked_for_is_given_and_without_that_two_gigabytes_or_a_quarter_of_what_is_free(
    asked: Literal["auto"] | float, free: int, given: int
) -> None:
    assert for_conversations(asked, None, free) == (given, None)


@pytest.mark.parametrize("asked", [10, 8192, math.inf])
def test_more_than_there_is_is_not_given_and_that_is_said(asked: float) -> None:
    given, remark = for_conversations(asked, None, 4 * GB)
    assert given == 3_600_000_000
    assert remark is not None
    assert f"{asked:g} GB" in remark
    assert "3.35 GiB" in remark


def test_pages_of_the_models_files_are_not_counted_as_free() -> None:
    assert for_conversations("auto", plan(3 * GB), 4 * GB) == (GB // 4, None)
    assert for_conversations("auto", plan(5 * GB), 4 * GB) == (0, None)
    assert for_conversations("auto", plan(3 * GB, "CUDA0"), 4 * GB) == (GB, None)


def test_what_is_free_now_is_looked_at() -> None:
    given, _ = for_conversations("auto", None)
    assert 0 < given <= 2 * GB
