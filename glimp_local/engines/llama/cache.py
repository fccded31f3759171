"""What llama.cpp has computed for the one sequence of a context, and the ways back to an earlier length of it.

Plain attention goes back to any length. Recurrent, hybrid and sliding-window models go back to a snapshot taken
before, or to the start: `llama_memory_seq_rm` says what worked. Some hybrid models also take back the last tokens of
the latest batch, once (llama.cpp's `n_rs_seq`). `models/footprint.py` counts
the memory of the snapshots. Which tokens the sequence consists of is the engine's business; here they are counted.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from glimp_local.engines.llama import states
from glimp_local.engines.llama.binding import lib
from glimp_local.settings import STEP_SNAPSHOT_BYTES, STEP_SNAPSHOTS, TURN_SNAPSHOTS

_PARTIAL = lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
"""Only what cannot be cut."""
_WHOLE = lib.LLAMA_STATE_SEQ_FLAGS_NONE


class Copy(NamedTuple):
    """All that a cache held of its sequence at one time, with its snapshots."""

    length: int
    state: npt.NDArray[np.uint8]
    snapshots: tuple[states.Snapshot, ...]


class Cache:
    """The cache of a context, which belongs to the caller, as does the model."""

    def __init__(self, model: Any, context: Any, *, swa_full: bool) -> None:
        self.memory: Any = lib.llama_get_memory(context)
        """None of a model that reads all of a text at once: nothing else may be asked then."""
        self.snapshots: list[states.Snapshot] = []
        """Of the starts of turns, which `save` writes, too."""
        self._steps: list[states.Snapshot] = []
        self._context = context
        self._window: int = 0 if swa_full else lib.llama_model_n_swa(model)
        self.goes_back: bool = not (
            self._window or lib.llama_model_is_recurrent(model) or lib.llama_model_is_hybrid(model)
        )
        """To any length? If not, only to a snapshot."""
        self.most_taken_back: int = 0 if self.goes_back or self._window else lib.llama_n_rs_seq(context)
        """Tokens at the end of a batch that can be taken back; 0 where none can, or any."""
        self._length = self._reach = 0

    def add(self, tokens: int) -> None:
        """Count a batch that was computed."""
        self._length += tokens
        self._reach = min(tokens - 1, self.most_taken_back)

    def fail(self) -> None:
        """Record that a batch failed: how much of it is held is unknown."""
        self._reach = -1

    def cut(self, length: int) -> bool:
        """Keep the first `length` tokens; return whether that was possible."""
        if self.most_taken_back and length:
            # llama.cpp would also go back to states of earlier batches, and those are not kept.
            if self._reach < 0 or self._length - length > self._reach:
                return False
            if length == self._length:
                return True
        if not self._remove(length):
            return False
        self._length, self._reach = length, 0
        return True

    def _remove(self, length: int) -> bool:
        if not lib.llama_memory_seq_rm(self.memory, 0, length, -1):
            return False
        # A sliding-window cache removes what it is told to, but what the window needs may have been dropped long ago:
        # then the oldest position it holds comes too late, or it holds none (-1).
        oldest = lib.llama_memory_seq_pos_min(self.memory, 0)
        return not self._window or length == 0 or 0 <= oldest <= max(0, length - self._window)

    def rewind(self, length: int) -> int:
        """Go back to the first `length` tokens, or as few below as is possible; return how many are kept."""
        kept = length if self.cut(length) else self._restore(length)
        self.snapshots = [snapshot for snapshot in self.snapshots if snapshot[0] <= kept]
        self._steps = [snapshot for snapshot in self._steps if snapshot[0] <= kept]
        return kept

    def _restore(self, length: int) -> int:
        for kept, state in sorted((*self.snapshots, *self._steps), key=itemgetter(0), reverse=True):
            if kept <= length:
                done = lib.llama_state_seq_set_data_ext(self._context, state, len(state), 0, _PARTIAL)
                if done and self._remove(kept):
                    self._length, self._reach = kept, 0
                    return kept
        lib.llama_memory_clear(self.memory, True)
        self._length = self._reach = 0
        return 0

    def snapshot(self, length: int) -> None:
        """Remember this point, behind `length` tokens, if the model could not come back to it by itself."""
        if not self.goes_back:
            self._add_snapshot(self.snapshots, length, TURN_SNAPSHOTS)

    def snapshot_step(self, length: int) -> None:
        """Remember this point as the start of a step. Most of a sliding window is still there a few steps later."""
        if not (self.goes_back or self._window):
            self._add_snapshot(self._steps, length, STEP_SNAPSHOTS)

    def _add_snapshot(self, snapshots: list[states.Snapshot], length: int, most: int) -> None:
        # Behind guesses the state is another one than behind the tokens.
        if self._length != length or (snapshots and snapshots[-1][0] == length):
            return
        size = lib.llama_state_seq_get_size_ext(self._context, 0, _PARTIAL)
        if snapshots is self._steps:
            most = max(1, min(most, STEP_SNAPSHOT_BYTES // size))
        del snapshots[: max(0, len(snapshots) + 1 - most)]  # before there is another one
        state = (ctypes.c_uint8 * size)()
        if lib.llama_state_seq_get_data_ext(self._context, state, size, 0, _PARTIAL):
            snapshots.append((length, state))

    @property
    def stops(self) -> tuple[int, ...] | None:
        """The lengths of the snapshots of turns, which `copy` copies; None where any length can be gone back to."""
        return None if self.goes_back else tuple(length for length, _ in self.snapshots)

    @property
    def copy_bytes(self) -> int:
        """What `copy` takes."""
        state: int = lib.llama_state_seq_get_size_ext(self._context, 0, _WHOLE)
        return state + sum(len(snapshot) for _, snapshot in self.snapshots)

    def copy(self) -> Copy | None:
        """Copy all of it into memory; return None where that fails."""
        size: int = lib.llama_state_seq_get_size_ext(self._context, 0, _WHOLE)
        try:
            state = np.empty(size, np.uint8)
        except MemoryError:
            return None
        copied = lib.llama_state_seq_get_data_ext(self._context, _pointer(state), size, 0, _WHOLE)
        return Copy(self._length, state, tuple(self.snapshots)) if copied == size else None

    def put_back(self, copy: Copy) -> bool:
        """Hold what was copied, in place of what is held; return False, and hold nothing, where that fails."""
        self.rewind(0)
        state = copy.state
        done = lib.llama_state_seq_set_data_ext(self._context, _pointer(state), len(state), 0, _WHOLE)
        if done != len(state) or lib.llama_memory_seq_pos_max(self.memory, 0) + 1 != copy.length:
            lib.llama_memory_clear(self.memory, True)
            return False
        self._length, self._reach, self.snapshots = copy.length, 0, list(copy.snapshots)
        return True

    def forget(self) -> None:
        """Free the snapshots."""
        self.snapshots, self._steps = [], []

    def size_bytes(self, ids: Sequence[int]) -> int:
        """Return the most bytes that `save`'s file will have."""
        return states.size_bytes(self._context, ids, self.snapshots)

    def save(self, path: Path, ids: Sequence[int], depends_on: dict[str, str]) -> int:
        """Write all of it into a file, with its tokens; return the size in bytes.

        Raises CacheError or OSError where that fails; the file may be there in part then.
        """
        return states.write(path, self._context, ids, self.snapshots, depends_on)

    def load(self, path: Path, room: int, depends_on: dict[str, str], former: Callable[[], str]) -> list[int]:
        """Hold what was saved, while nothing is held; return its tokens, `room` at most.

        `former` returns what an earlier glimp told the model by.

        Raises CacheError or OSError where the file is not whole, of something else or too long; then nothing is held.
        """
        ids, self.snapshots = states.read(path, self._context, room, depends_on, former)
        self._steps = []
        self._length, self._reach = len(ids), 0
        return ids


def _pointer(state: npt.NDArray[np.uint8]) -> Any:
    return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
