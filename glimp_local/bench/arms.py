"""The arms of a bench: the ways in which each problem is solved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

from glimp_local.bench.specreason import SmallFirst
from glimp_local.events import Solution
from glimp_local.routing import Alone, Policy, Random, Share, Speculative, Threshold

Kind = Literal["small", "large", "threshold", "share", "random", "specreason", "speculative"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_BY_ENTROPY = frozenset({"confident", "uncertain"})


class Arm(msgspec.Struct, frozen=True):
    """One way of solving the problems."""

    kind: Kind
    value: float | None = None
    """Nats of a threshold, or the share that is aimed at."""
    control_of: str | None = None
    """The arm at whose share of steps `random` draws."""

    @property
    def name(self) -> str:
        """The arm's name in records and reports."""
        if self.control_of is not None:
            return f"random as {self.control_of}"
        return self.kind if self.value is None else f"{self.kind} {repr(self.value).removesuffix('.0')}"

    @property
    def is_routed(self) -> bool:
        """Does the glimpse decide?"""
        return self.kind in {"threshold", "share"}

    def policy(
        self, before: Iterable[Solution], *, seed: int, threshold_nats: float, history: Iterable[float]
    ) -> Policy:
        """Make the policy of the next run.

        `before` are the finished runs of this arm; for `random` those of the arm it controls, up to and with the same
        problem: it draws at the share of steps whose entropy sent them to the large model. `history` are the entropies
        that were stored for the pair when the bench began, `threshold_nats` is what `share` starts with where there are
        too few.
        """
        match self.kind:
            case "small" | "large":
                return Alone(self.kind)
            case "threshold":
                return Threshold(self.value or 0.0)
            case "share":
                seen = [*history, *(nats for solution in before for nats in solution.stats.entropies_nats)]
                return Share(self.value or 0.0, threshold_nats=threshold_nats, history=seen)
            case "random":
                # Steps that went to the large model for another reason (a circle) will do so under `random`, too.
                reasons = [step.reason for solution in before for step in solution.steps if step.reason in _BY_ENTROPY]
                return Random(reasons.count("uncertain") / max(len(reasons), 1), seed)
            case "specreason":
                return SmallFirst()
            case "speculative":
                return Speculative()


def make_arms(kinds: Iterable[Kind], thresholds: Iterable[float], shares: Iterable[float]) -> list[Arm]:
    """Give the arms, each control right behind the arm it controls."""
    wanted = set(kinds)
    routed = [Arm("threshold", nats) for nats in dict.fromkeys(thresholds) if "threshold" in wanted]
    routed += [Arm("share", share) for share in dict.fromkeys(shares) if "share" in wanted]
    return [
        *(Arm(kind) for kind in ("small", "large") if kind in wanted),
        *(one for arm in routed for one in (arm, Arm("random", control_of=arm.name))[: 1 + ("random" in wanted)]),
        *(Arm(kind) for kind in ("specreason", "speculative") if kind in wanted),
    ]


def turned(arms: Sequence[Arm], number: int) -> list[Arm]:
    """Give the arms in the order in which the problem of a number meets them.

    Each problem begins one arm further on, so that none always follows the same one; controls stay behind their arms.
    """
    starts = [at for at, arm in enumerate(arms) if arm.control_of is None]
    at = starts[number % len(starts)]
    return [*arms[at:], *arms[:at]]
