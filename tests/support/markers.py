"""Which tests are quick: what a test uses says how it is marked, and a test that starts a `glimp` has to say so."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from typing import Any

import pytest

BY_FIXTURE = {
    "process": {"killed", "read"},
    "screen": {"opened", "terminal"},
    "slow": {"llama_cpp_models"},  # downloads, too
    "real": {"real_pair"},
    "vllm": {"vllm_small", "vllm_large", "vllm_python"},
}
"""The tests that use one of these fixtures have the mark; `played` tests of the chat are marked `screen`, too."""

_GLIMP = re.compile(r"-m glimp_local( |$)|from glimp_local\.cli import|(^|[ /(])glimp( |$)")


def mark(items: Iterable[pytest.Item]) -> None:
    """Mark tests by the fixtures they use."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        for name, fixtures in BY_FIXTURE.items():
            if used & fixtures:
                item.add_marker(name)


def refuse_processes(item: pytest.Item, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that starts a `glimp` in a process of its own and is not marked so."""
    if any(item.get_closest_marker(name) for name in ("process", "screen")):
        return
    start = subprocess.Popen.__init__

    def refuse(self: Any, args: Any, *rest: Any, **named: Any) -> None:
        command = args if isinstance(args, str) else " ".join(str(part) for part in args)
        assert not _GLIMP.search(command), f"a test that starts a glimp is to be marked `process`: {command}"
        start(self, args, *rest, **named)

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
