"""One GGUF, one context, one sequence of tokens.

The engine holds `ids`, the tokens its cache was computed for, and keeps one promise: whatever happens (cancel, full
context, failed computation), `ids` and the cache agree, so that work can go on from there. Behind `ids` the cache may
hold drafted tokens: guesses at what comes next, computed in one batch with the last token. A guess that comes true
costs no computation of its own; the others are dropped before the cache is used for anything else. One thread at a
time may use an engine; only the cancel event may be set from another. It may read ahead in a thread of its own:
whatever else is asked of it stops that, and waits for the batch that is being computed.

Its parts have modules of their own: the file in memory (`model`), where its layers are (`placement`), llama.cpp's cache
and the ways back (`cache`), the thread that reads ahead (`reading`). What is here is the tokens and their computation.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from glimp_local.engines.llama import binding, loading, pace, proof, servers, states
from glimp_local.engines.llama.binding import lib
from glimp_local.engines.llama.cache import Cache, Copy
from glimp_local.engines.llama.costs import Costs
from glimp_local.engines.llama.grammar import Grammar
from glimp_local.engines.llama.model import LoadedModel
from glimp_local.engines.llama.placement import Placement
from glimp_local.engines.llama.reading import ReadingAhead
from glimp_local.engines.llama.sampler import Sampler
from glimp_local.errors import CancelledError, ContextFullError, DecodeError, GlimpError
from glimp_local.models.identity import former_identity, identity
from glimp_local.settings import MAX_DRAFT, EngineOptions


class Engine:
    """One GGUF in memory.

    `context` is the most tokens it can hold: 0 takes what the model was trained for, and more is never taken.
    `on_progress` hears the loaded fraction (0 to 1). Raises ModelMissingError or ModelUnreadableError where the file
    cannot be loaded, CancelledError when `cancel` is set while it loads, MemoryShortError where there is no memory for
    it, and DeviceError where an RPC server cannot be used.
    """

    def __init__(
        self,
        path: Path,
        options: EngineOptions | None = None,
        *,
        context: int = 0,
        cancel: threading.Event | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        options = options or EngineOptions()
        self.path = path
        self.cancel = cancel or threading.Event()
        self.ids: list[int] = []
        self.fed = 0  # tokens fed in all, for the account
        self.reading: tuple[int, int] | None = None
        """Of the tokens being fed, how many are, and how many there are; None while none is. For any thread to see."""
        self.ahead = ReadingAhead(path.stem)
        self._context: Any = None
        self._model: LoadedModel | None = None
        self._batch: Any = None
        self._owner: object = None
        self._epoch = 0  # of `ids`: it changes when more than one token is added, or any is taken away
        self._drafted: list[int] = []  # behind `ids` in the cache, in reverse: the next one stands last
        self._has_logits = False
        self.costs = Costs()
        """What its batches cost."""
        self._may_pad = False
        self._paced: pace.Paced | None = None
        """Chooses the threads while it runs; None if they are fixed."""
        proof.settle(self.cancel)  # it may have GPUs left alone
        pace.shared()  # what else the machine does is watched from here on
        gpus = tuple(binding.gpus()) if options.gpu_layers else ()
        remote = tuple(servers.devices(options.servers))
        _open_engines.add(self)
        try:
            self._model = model = LoadedModel(path, options, self.cancel, on_progress)
            self.name, self.vocabulary, self.trained_context = model.name, model.vocabulary, model.trained_context
            self.template = model.template
            self.placement = Placement(options, model.size_bytes, model.layers, gpus, remote)
            self._make_context(model, context)
            self._make_batch(lib.llama_n_batch(self._context))
        except BaseException:
            self.close()
            raise

    def _make_context(self, model: LoadedModel, wanted: int) -> None:
        placement, context = self.placement, min(wanted or self.trained_context, self.trained_context)
        self._context = loading.make_context(
            model.handle,
            self.name,
            placement.options,
            context=context,
            batch_size=min(placement.batch, context),
            threads=(placement.threads, placement.threads_batch),
        )
        self._adapt()
        self._cache = Cache(model.handle, self._context, swa_full=placement.options.swa_full)
        if not self._cache.memory:  # of a model that reads all of a text at once; llama.cpp would abort
            raise model.no_writer()
        self.context: int = min(context, lib.llama_n_ctx(self._context))  # llama.cpp rounds up; a limit is a limit
        self.keeps_past = self._cache.goes_back
        """Can the engine go back to any length? If not, only to a snapshot."""
        self.most_drafted = MAX_DRAFT if self.keeps_past else self._cache.most_taken_back
        """Most guesses in a batch: those that did not come true have to be taken back."""

    def _make_batch(self, size: int) -> None:
        self._batch = batch = lib.llama_batch_init(size, 0, 1)
        # Views on the batch's C arrays, made once: filling them allocates nothing.
        self._tokens = np.ctypeslib.as_array(batch.token, (size,))
        self._positions = np.ctypeslib.as_array(batch.pos, (size,))
        self._wanted = np.ctypeslib.as_array(batch.logits, (size,))
        self._wanted[:] = 0
        np.ctypeslib.as_array(batch.n_seq_id, (size,))[:] = 1
        for i in range(size):
            batch.seq_id[i][0] = 0
        self.batch_size = size
        """Most tokens of a prompt it computes at once."""

    @property
    def options(self) -> EngineOptions:
        """What its user chose."""
        return self.placement.options

    def set_threads(self, threads: int, threads_batch: int) -> None:
        """Change the threads for one token and for several, as the options of their names do."""
        self._check_open()
        options = msgspec.structs.replace(self.options, threads=threads, threads_batch=threads_batch)
        self.placement = msgspec.structs.replace(self.placement, options=options)
        self._adapt()
        lib.llama_set_n_threads(self._context, self.placement.threads, self.placement.threads_batch)

    def _adapt(self) -> None:
        """Let the number of threads follow what else the machine does, if nobody has set it and it matters."""
        self._paced = pace.Paced(pace.shared(), self._use_threads) if self.placement.adapts else None

    def _use_threads(self, threads: int) -> None:
        batch = threads if self.options.threads_batch == "auto" else self.placement.threads_batch
        lib.llama_set_n_threads(self._context, threads, batch)

    @property
    def news(self) -> str | None:
        """What there is to say, once, about the pace it computes at."""
        return None if self._paced is None else self._paced.pace.news()

    def claim(self, owner: object, cancel: threading.Event, *, may_pad: bool = False) -> None:
        """Have what comes next computed for `owner`; `cancel` stops it. What another owner has drafted is dropped.

        With `may_pad`, batches may be padded: what was measured decides then how they are rounded.
        """
        self._check_open()
        self._may_pad = may_pad
        if self._owner is not owner:
            self.stop_reading()
            self._drop_draft()
            self._owner, self.cancel = owner, cancel

    def sample(self, sampler: Sampler) -> int:
        """Draw the token behind `ids` from the logits; it is not fed."""
        self._check_open()
        if not self._has_logits:
            raise RuntimeError("sampling needs logits of the last token: feed one first")
        return sampler.sample(self._context, self.ids, epoch=self._epoch, row=-1 - len(self._drafted))

    def sample_within(self, sampler: Sampler, grammar: Grammar) -> int:
        """Draw the token behind `ids` that a grammar allows; raises DecodeError if there is none."""
        return sampler.sample_within(grammar, self.logits(), self.ids, epoch=self._epoch)

    def logits(self) -> npt.NDArray[np.float32]:
        """View the raw logits behind the last token, shape (vocabulary.size,). Valid until the next feed or decode."""
        self._check_open()
        if not self._has_logits:
            raise RuntimeError("there are no logits: feed a token first")
        row = lib.llama_get_logits_ith(self._context, -1 - len(self._drafted))
        return np.ctypeslib.as_array(row, (self.vocabulary.size,))

    @property
    def drafted(self) -> int:
        """How many drafted tokens the cache holds behind `ids`."""
        return len(self._drafted)

    def expects(self, token: int) -> bool:
        """Was this token drafted to come next, so that it costs no computation?"""
        return bool(self._drafted) and self._drafted[-1] == token

    def decode(self, token: int, drafted: Sequence[int] = ()) -> None:
        """Feed one token, and compute the drafted ones behind it in the same batch, `most_drafted` at most.

        A token that was drafted to come here is computed already, and no new draft is taken then. Raises
        ContextFullError where the token has no room (drafts that have none are left out) and DecodeError where
        llama.cpp fails.
        """
        self._check_open()
        if self.expects(token):
            self.ids.append(self._drafted.pop())
            return
        self._drop_draft()
        position = len(self.ids)
        self._tokens[0] = token
        self._positions[0] = position
        self._wanted[0] = 1
        if not drafted:
            self._compute(1)
            self.ids.append(token)
            return
        drafted = drafted[: max(0, min(self.most_drafted, self.batch_size - 1, self.context - position - 1))]
        count = 1 + len(drafted)
        self._tokens[1:count] = drafted
        self._positions[1:count] = np.arange(position + 1, position + count)
        self._wanted[1:count] = 1
        self._compute(count)
        self.ids.append(token)
        self._drafted = list(reversed(drafted))

    def _drop_draft(self) -> None:
        """Take the guesses that did not come true out of the cache."""
        if self._drafted:
            self._has_logits, self._drafted = False, []
            self._cache.cut(len(self.ids))

    def feed(self, ids: Sequence[int]) -> None:
        """Feed tokens in batches; a cancel stops between two of them.

        Raises CancelledError, ContextFullError or DecodeError; what was fed before it stays fed.
        """
        self._check_open()
        if len(self.ids) + len(ids) > self.context:
            raise self._full()
        self._epoch += 1
        self._drop_draft()
        try:
            for start in range(0, len(ids), self.batch_size):
                if self.cancel.is_set() or self.ahead.stopping.is_set():
                    raise CancelledError("cancelled while reading the prompt")
                self.reading = (start, len(ids)) if len(ids) > 1 else None
                self._feed(ids[start : start + self.batch_size], is_last=start + self.batch_size >= len(ids))
        finally:
            self.reading = None

    def _feed(self, part: Sequence[int], *, is_last: bool) -> None:
        """Feed one batch; the logits behind the last one are wanted."""
        count, position = len(part), len(self.ids)
        self._tokens[:count] = part
        self._positions[:count] = np.arange(position, position + count)
        self._wanted[:count] = 0
        self._wanted[count - 1] = is_last
        self._compute(count)
        self.ids.extend(part)
        self.fed += count

    def read_ahead(self, target: Sequence[int]) -> None:
        """Make the engine hold `target` in a thread of its own.

        What fails there is logged, and fails again when it is asked for in the foreground.
        """
        self._check_open()
        self.ahead.start(partial(self.sync, target), lambda: self.fed)

    @property
    def reads_ahead(self) -> bool:
        """Is it reading ahead now?"""
        return self.ahead.is_reading

    def stop_reading(self) -> None:
        """Stop reading ahead, behind the batch that is being computed; what was read stays."""
        self.ahead.stop()

    @property
    def is_open(self) -> bool:
        """Is it in memory?"""
        return bool(self._context)

    def _check_open(self) -> None:
        if self.ahead.has_begun:
            self.ahead.stop()
        if not self._context:
            raise GlimpError("the pair has been closed")

    def _compute(self, count: int) -> None:
        if len(self.ids) + count > self.context:
            raise self._full()
        size = self._pad(count)
        self._batch.n_tokens = size
        began = perf_counter()
        if self._paced is not None and (count == 1 or self.options.threads_batch == "auto"):
            failed = self._paced.run(size, self._decode)
        else:
            failed = self._decode()
        if not failed:
            self._cache.add(size)
            self.costs.measure(size, perf_counter() - began, depth=len(self.ids))
            if size > count:
                self._cache.cut(len(self.ids) + count)
            self._has_logits = bool(self._wanted[count - 1])
            return
        # The cache may hold a part of the batch: go back to what `ids` says.
        self._cache.fail()
        kept = self.rewind(len(self.ids))
        del self.ids[kept:]
        if failed == 1:
            raise self._full()
        raise DecodeError(f"llama.cpp could not compute {count} tokens with {self.name} (llama_decode gave {failed})")

    def _pad(self, count: int) -> int:
        """Put tokens that count for nothing behind the first `count` ones, if such a batch costs less; return its size.

        No token looks at one behind it, nobody asks for their logits, and they are taken out of the cache again.
        """
        if count == 1 or not (self._may_pad and self.keeps_past):
            return count
        position = len(self.ids)
        size = self.costs.padded(count, min(self.batch_size, self.context - position))
        if size > count:
            self._tokens[count:size] = self._tokens[count - 1]
            self._positions[count:size] = np.arange(position + count, position + size)
            self._wanted[count:size] = 0
        return size

    def _decode(self) -> int:
        failed: int = lib.llama_decode(self._context, self._batch)
        if not failed:
            lib.llama_synchronize(self._context)  # on a GPU the computation ends here; on a CPU it has ended
        return failed

    def _full(self) -> ContextFullError:
        return ContextFullError(
            f"the context of {self.name} is full ({self.context:,} tokens)", hint="give it more room with --ctx"
        )

    def sync(self, target: Sequence[int]) -> int:
        """Make the engine hold exactly `target`, with the logits behind its last token; return the tokens fed.

        Keeps the longest common prefix of what it holds. This one call is the catch-up, the hand-over, the redo and the
        next turn. Raises what `feed` raises.
        """
        self._check_open()
        keep = _common_prefix(self.ids, target)
        while keep == len(self.ids) < len(target) and self.expects(target[keep]):
            self.decode(target[keep])
            keep += 1
        if keep == len(target) == len(self.ids) and self._has_logits:
            return 0
        if keep < len(self.ids) or keep == len(target):
            keep = self.rewind(max(0, min(keep, len(target) - 1)))
        self.feed(target[keep:])
        return len(target) - keep

    def rewind(self, length: int) -> int:
        """Go back to the first `length` tokens, or as few below as the architecture allows; return how many are kept.

        Plain attention goes back to any length. Recurrent, hybrid and sliding-window models go back to the last
        snapshot, or to the start: `llama_memory_seq_rm` says what worked. Logits have to be computed again.
        """
        self._check_open()
        self._has_logits, self._drafted = False, []
        self._epoch += 1
        length = self._cache.rewind(length)
        del self.ids[length:]
        return length

    def snapshot(self) -> None:
        """Remember this point, where the architecture could not come back to it by itself; else do nothing."""
        self._check_open()
        self._cache.snapshot(len(self.ids))

    def snapshot_step(self) -> None:
        """Remember this point as the start of a step. More of these are kept than of turns; no file has them."""
        self._check_open()
        self._cache.snapshot_step(len(self.ids))

    def comes_back_to(self, ids: list[int]) -> bool:
        """Is there a snapshot behind these tokens, which begin what is held?"""
        return any(length == len(ids) for length, _ in self._cache.snapshots) and self.ids[: len(ids)] == ids

    @cached_property
    def identity(self) -> str:
        """What tells the model from others (see `models/identity.py`)."""
        return identity(self.path)

    @cached_property
    def former_identity(self) -> str:
        """What an earlier glimp told the model by."""
        return former_identity(self.path)

    @property
    def state_bytes(self) -> int:
        """The most bytes that `save_state`'s file will have."""
        self._check_open()
        return self._cache.size_bytes(self.ids)

    def save_state(self, path: Path) -> int:
        """Write all that is held into a file; return its size in bytes. Logits have to be computed again.

        Raises CacheError or OSError where that fails; the file may be there in part then.
        """
        depends_on = states.depends_on(self.path, self.identity, self.options)
        self.rewind(len(self.ids))  # only what `ids` says
        return self._cache.save(path, self.ids, depends_on)

    def load_state(self, path: Path) -> int:
        """Hold what was saved, in place of what is held; return how many tokens. Logits have to be computed again.

        Raises CacheError or OSError where the file is damaged, of another model or of other options, or holds more than
        there is room for; then nothing is held.
        """
        depends_on = states.depends_on(self.path, self.identity, self.options)
        self.rewind(0)
        self.ids = self._cache.load(path, self.context, depends_on, lambda: self.former_identity)
        return len(self.ids)

    @property
    def stops(self) -> tuple[int, ...] | None:
        """The lengths it can go back to from a copy of what it holds; None is any."""
        return self._cache.stops

    @property
    def copy_bytes(self) -> int:
        """What `copy_state` takes."""
        self._check_open()
        return self._cache.copy_bytes

    def copy_state(self) -> Copy | None:
        """Copy all that is held into memory; None where llama.cpp, or the memory, fails. What is held stays."""
        self.rewind(len(self.ids))  # only what `ids` says
        return self._cache.copy()

    def put_state(self, ids: list[int], copy: Copy) -> bool:
        """Hold these tokens, of which a copy was made, in place of what is held. Logits have to be computed again.

        Returns False, and holds nothing, where llama.cpp fails.
        """
        self.rewind(0)
        is_held = self._cache.put_back(copy)
        self.ids = ids if is_held else []
        return is_held

    def close(self) -> None:
        """Free everything, the context before the model. Safe to call twice."""
        self.ahead.close()
        self._has_logits, self._drafted = False, []
        # Forgotten first, freed then: an interrupt between the two must not lead to freeing twice.
        batch, self._batch = self._batch, None
        context, self._context = self._context, None
        if context:
            self._cache.forget()
        model, self._model = self._model, None
        if batch is not None:
            lib.llama_batch_free(batch)
        if context:
            lib.llama_free(context)
        if model is not None:
            model.close()


def _common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(i for i in range(shorter) if one[i] != other[i])


_open_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Free what is still open while Python is whole: leaving it to `__del__` can abort the process on Metal."""
    for engine in list(_open_engines):
        engine.close()
