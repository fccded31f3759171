"""The one process that renders chat templates for all tests that need no process of their own."""

from __future__ import annotations

import atexit
from functools import cache

from glimp_local.engines.renderer import Renderer


@cache
def renderer() -> Renderer:
    started = Renderer()
    atexit.register(started.close)
    return started
