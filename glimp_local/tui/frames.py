"""How often the chat draws: each moment of it is taken from models that compute on the same cores."""

from __future__ import annotations

from time import thread_time

import psutil

from glimp_local.pair import Pair

_SECONDS = 1 / 30
"""A frame comes no sooner after another..."""
_SLOW_SECONDS = 0.5
"""...and no later,..."""
_DRAWING = 0.25
"""...and between them this part of the time is spent on drawing;..."""
_DRAWING_CROWDED = 0.025
"""...so little where the models compute on every core there is: each moment of drawing holds all their threads up."""


class Frames:
    """When the next frame is due. Used in one thread, the one that draws."""

    def __init__(self) -> None:
        self._drawing = _DRAWING
        self._used = 0.0
        """Time this thread had computed for when the last frame was asked for."""

    def make_room(self, pair: Pair) -> None:
        """Leave a pair the cores it needs."""
        threads = max(backend.cpu_threads for backend in pair.backends.values())
        self._drawing = _DRAWING_CROWDED if threads >= (psutil.cpu_count() or 1) else _DRAWING

    @property
    def pulse_seconds(self) -> float:
        """How often a sign of life moves."""
        return _SLOW_SECONDS if self._drawing == _DRAWING_CROWDED else _SLOW_SECONDS / 4

    def wait_seconds(self, *, behind: bool) -> float:
        """Give the time to wait before the next frame; little where what is shown has fallen `behind`."""
        used, self._used = thread_time() - self._used, thread_time()
        return _SECONDS if behind else min(max(used / self._drawing, _SECONDS), _SLOW_SECONDS)
