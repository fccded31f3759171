"""A server under load: the small version of `python -m benchmarks serve-load`."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from benchmarks.serve_load import under_load
from benchmarks.serving import Serving
from tests.server.conftest import Serve

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_every_request_is_answered_or_cancelled_none_is_mixed_up_and_nothing_is_left(serving: Serve) -> None:
    served = serving("--pair", "builtin", "--queue", "100", "-q")
    loaded = Serving(served.port, psutil.Process(served.process.pid))
    (ended, held, about), wrong = asyncio.run(under_load(loaded, 80, kills=2))
    assert wrong == [], f"{ended}\n\n{held}\n\n{about}"
    outcomes = {tuple(line.strip("| ").split(" | ")[:2]) for line in ended.splitlines()[2:]}
    assert {("whole", "answered"), ("stream", "answered"), ("wrong body", "refused")} <= outcomes
    assert {kind for kind, outcome in outcomes if outcome == "left"} == {
        "half a body",
        "leaves early",
        "leaves the stream",
    }
    assert "killed 3 times" in about
    assert "Traceback" not in "".join(served.said)
