"""An examination that starts no llama.cpp."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from glimp_local.machine.doctor import report
from glimp_local.machine.doctor.probe import Objection, Probe
from glimp_local.machine.doctor.report import Examination, examine


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Examination]:
    """Examine without starting llama.cpp."""
    monkeypatch.setattr(report, "probe", lambda: Probe(objection=Objection("not tried")))
    monkeypatch.setattr(report, "prove", lambda: None)
    return lambda pair=None: examine(pair=pair, environment={})
