"""Runs of a pair whose large model is behind a URL, under every arm; a process of its own, which `remote` starts."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import httpx2
import msgspec

from benchmarks.apart import asked_for, tell
from glimp_local.events import fold
from glimp_local.load import load_pair
from glimp_local.pair import Pair
from glimp_local.session.session import Session

_SECONDS = 60.0
_OTHER = "Something else altogether, so that nothing is left of what was read before."


class Arm(msgspec.Struct, frozen=True):
    """A way of answering."""

    name: str
    policy: Literal["large", "threshold"]
    catch_up: Literal["lazy", "eager"] = "lazy"


ARMS = (
    Arm("large alone", "large"),
    Arm("routed", "threshold"),
    Arm("routed, reading ahead", "threshold", "eager"),
)


class Asked(msgspec.Struct, frozen=True):
    """What is to be measured."""

    small: Path | None
    """None is the built-in pair with its own settings; else a GGUF."""
    questions: tuple[str, ...]
    url: str = ""
    settings: dict[str, Any] = {}
    """Settings of the pair."""

    def at(self, url: str) -> Asked:
        """Return the same with the large model's server."""
        return msgspec.structs.replace(self, url=url)


class Run(msgspec.Struct, frozen=True):
    """One run, as its session counts it."""

    seconds: float
    large_steps: int
    """Steps that the large model wrote, of thought and answer."""
    text: str


class Found(msgspec.Struct, frozen=True):
    """The runs of each arm, by its name, in the order of the questions."""

    runs: dict[str, list[Run]]


def main() -> None:
    """Measure what is asked on standard input and print what was found."""
    asked = asked_for(Asked)
    runs: dict[str, list[Run]] = {arm.name: [] for arm in ARMS}
    with ExitStack() as opened:
        pairs = {arm.name: opened.enter_context(_open(asked, arm)) for arm in ARMS}
        for arm in ARMS:  # warm: connections, first passes
            _run(asked, pairs[arm.name], asked.questions[0])
        for turn, question in enumerate(asked.questions):
            first = turn % len(ARMS)  # none always follows the same one
            for arm in (*ARMS[first:], *ARMS[:first]):
                runs[arm.name].append(_run(asked, pairs[arm.name], question))
    tell(Found(runs))


def _open(asked: Asked, arm: Arm) -> Pair:
    settings: dict[str, Any] = {
        "policy": arm.policy,
        "catch_up": arm.catch_up,
        "draft": "off",
        "sampling": {"temperature": 0},
        **asked.settings,
    }
    if asked.small is None:
        return load_pair("builtin", large_url=asked.url, **settings)
    return load_pair(small=asked.small, large_url=asked.url, **settings)


def _run(asked: Asked, pair: Pair, question: str) -> Run:
    pair.forget()
    other = {"prompt": _OTHER, "n_predict": 1}
    httpx2.post(f"{asked.url}/completion", json=other, timeout=_SECONDS, trust_env=False).raise_for_status()
    solution = fold(Session(pair, seed=1).ask(question))
    large_steps = sum(step.model == "large" for step in solution.steps)
    return Run(solution.stats.seconds, large_steps, solution.thought + solution.answer)


if __name__ == "__main__":
    main()
