"""What the tests of models on servers share: questions, runs, and what a lane has before it."""

from __future__ import annotations

from collections.abc import Sequence

from glimp_local import Session
from glimp_local.bench.problems import read_problems
from glimp_local.engines.llama.lane import LlamaLane
from glimp_local.engines.remote.backend import RemoteBackend
from glimp_local.engines.remote.lane import RemoteLane
from glimp_local.events import Solution, fold
from glimp_local.pair import Pair
from glimp_local.routing import Model

QUESTION = (
    "Emma has 57 marbles and Ben has 93. Emma finds 89 more. It is raining today. Ben gives Emma a third of his "
    "marbles. How many marbles does Emma have now?"
)


def questions(count: int) -> list[str]:
    """Return the first problems of the built-in pair's own bench."""
    return [problem.text for problem in read_problems("builtin")[:count]]


def solve(pair: Pair, question: str = QUESTION) -> Solution:
    return fold(Session(pair, seed=1).ask(question))


def transcript(session: Session, model: Model) -> Sequence[int] | str:
    """Return the prompt, and all that was written behind it, as a model reads it."""
    lane = session._lanes[model]
    if isinstance(lane, LlamaLane):
        return lane.ids
    assert isinstance(lane, RemoteLane)
    return lane.transcript.prompt()


def remote(pair: Pair, model: Model = "large") -> RemoteBackend:
    backend = pair.backends[model]
    assert isinstance(backend, RemoteBackend)
    return backend


def texts(solution: Solution) -> list[tuple[Model, str]]:
    return [(step.model, step.text) for step in solution.steps]
