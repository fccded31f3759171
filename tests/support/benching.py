"""What the tests of a bench share: runs made up, and a bench on the tiny models."""

from __future__ import annotations

from typing import Any

import msgspec

from glimp_local.bench.runs import Run
from glimp_local.events import ModelStats, Solution, Stats


def model_stats(**values: object) -> ModelStats:
    nothing = dict.fromkeys(ModelStats.__struct_fields__, 0)
    return msgspec.convert({**nothing, "name": "model", **values}, ModelStats)


def made_up(
    problem: str,
    arm: str,
    *,
    correct: bool,
    seconds: float = 1.0,
    repeat: int = 0,
    steps_large: int = 0,
    **stats: Any,
) -> Run:
    """Make up a run of ten steps and a hundred tokens."""
    empty: dict[str, Any] = {
        "steps": 10,
        "steps_large": steps_large,
        "share_steps": steps_large / 10,
        "tokens": 100,
        "tokens_large": 10 * steps_large,
        "share_tokens": steps_large / 10,
        "switches": 0,
        "seconds": seconds,
        "time_to_first_token_seconds": 0.1,
        "glimpse_seconds": 0.0,
        "entropies_nats": (),
        "small": model_stats(tokens=100 - 10 * steps_large),
        "large": model_stats(tokens=10 * steps_large),
    }
    solution = Solution(
        answer="1",
        boxed="1",
        thought="",
        pair="pair",
        policy="threshold",
        seed=1,
        finish_reason="done",
        thought_end="closed",
        steps=(),
        notices=(),
        stats=Stats(**{**empty, **stats}),
    )
    return Run(problem, "What?", "1", arm, repeat, correct, "1", None, seconds, solution)
