"""The one process that renders chat templates for all tests that need no process of their own."""

from __future__ import annotations

import atexit
from functools import cache

from glimp_local.engines.renderer import Renderer

LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
MEMORY = "it takes too much memory"


@cache
def renderer() -> Renderer:
    started = Renderer()
    atexit.register(started.close)
    return started
