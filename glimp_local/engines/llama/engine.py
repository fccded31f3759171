"""One GGUF, one context, one sequence of tokens.

The engine holds `ids`, the tokens its cache was computed for, and keeps one promise: whatever happens (cancel, full
context, failed computation), `ids` and the cache agree, so that work can go on from there. Behind `ids` the cache may
hold drafted tokens: guesses at what comes next, computed in one batch with the last token. A guess that comes true
costs no computation of its own; the others are dropped before the cache is used for anything else. One thread at a
time may use an engine; only the cancel event may be set from another. It may read ahead in a thread of its own:
whatever else is asked of it stops that, and waits for the batch that is being computed.
"""

from __future__ import annotations

import atexit
import ctypes
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import llama_cpp as lib
import msgspec
import numpy as np
import numpy.typing as npt

from glimp_local.engines.llama import binding, loading, pace, proof, states
from glimp_local.engines.llama.sampler import Sampler
from glimp_local.engines.llama.vocabulary import Vocabulary
from glimp_local.engines.renderer import Renderer
from glimp_local.engines.template import ChatTemplate
from glimp_local.errors import CancelledError, ContextFullError, DecodeError, GlimpError, ModelUnreadableError
from glimp_local.hardware import cpus
from glimp_local.models.gguf.fatal import refuse_fatal
from glimp_local.models.gguf.header import read_header
from glimp_local.settings import MAX_DRAFT, EngineOptions, SamplingSettings

_TINY_BYTES = 64_000_000
"""Below this size a model decodes a token in less time than two threads need to meet at their barriers."""

_SNAPSHOTS = 2
"""How many snapshots an engine keeps: the start of this turn and of the one before."""


class Engine:
    """One GGUF in memory.

    `context` is the most tokens it can hold: 0 takes what the model was trained for, and more is never taken.
    `on_progress` hears the loaded fraction (0 to 1). Raises ModelMissingError or ModelUnreadableError where the file
    cannot be loaded, CancelledError when `cancel` is set while it loads, and MemoryShortError where there is no memory
    for it.
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
        self.path = path
        self.options = options or EngineOptions()
        self.cancel = cancel or threading.Event()
        self.ids: list[int] = []
        self.fed = 0  # tokens fed in all, for the account
        self.fed_ahead, self.ahead_seconds = 0, 0.0  # of them, those it has read ahead
        self._reading: Future[None] | None = None
        self._reader: int | None = None  # the thread that reads ahead
        self._pool: ThreadPoolExecutor | None = None
        self._stop = threading.Event()
        proof.settle(self.cancel)  # it may have GPUs left alone
        pace.shared()  # what else the machine does is watched from here on
        self.gpus = binding.gpus() if self.options.gpu_layers else []
        self._context: Any = None
        self._model: Any = None
        self._batch: Any = None
        self._vocabulary: Vocabulary | None = None
        self._sampler: Sampler | None = None
        self._drafted: list[int] = []  # behind `ids` in the cache, in reverse: the next one stands last
        self._has_logits = False
        self._snapshots: list[tuple[int, ctypes.Array[ctypes.c_uint8]]] = []
        self._paced: pace.Paced | None = None
        """Chooses the threads while it runs; None if they are fixed."""
        # llama.cpp sees no file that is none, or damaged: its own messages do not say what to do, or it aborts.
        refuse_fatal(read_header(path))
        _open_engines.add(self)
        try:
            self._load_model(on_progress)
            self._make_context(context)
        except BaseException:
            self.close()
            raise

    def _load_model(self, on_progress: Callable[[float], None] | None) -> None:
        self._model = loading.load_model(self.path, self.options, self.cancel, on_progress)
        self._vocabulary = self.vocabulary = Vocabulary(self._model)
        self.name = self.metadata("general.name") or self.path.stem
        self.trained_context: int = lib.llama_model_n_ctx_train(self._model)
        if lib.llama_model_has_encoder(self._model) or not lib.llama_model_has_decoder(self._model):
            raise self._no_writer()

    def _no_writer(self) -> ModelUnreadableError:
        return ModelUnreadableError(
            f"{self.path} is no model that continues a text", hint="glimp needs a chat or reasoning model"
        )

    def _make_context(self, wanted: int) -> None:
        options, context = self.options, min(wanted or self.trained_context, self.trained_context)
        batch_size = min(options.batch or (512 if self.gpus else 128), context)
        self._context = loading.make_context(
            self._model,
            self.name,
            options,
            context=context,
            batch_size=batch_size,
            threads=(self.threads, self.threads_batch),
        )
        self._adapt()
        self._memory: Any = lib.llama_get_memory(self._context)
        if not self._memory:  # of a model that reads all of a text at once; llama.cpp would abort
            raise self._no_writer()
        self.context: int = min(context, lib.llama_n_ctx(self._context))  # llama.cpp rounds up; a limit is a limit
        size: int = lib.llama_n_batch(self._context)
        self._window: int = 0 if options.swa_full else lib.llama_model_n_swa(self._model)
        self.keeps_past = not (
            self._window or lib.llama_model_is_recurrent(self._model) or lib.llama_model_is_hybrid(self._model)
        )
        """Can the engine go back to any length? If not, only to a snapshot."""
        self._batch = lib.llama_batch_init(size, 0, 1)
        batch = self._batch
        # Views on the batch's C arrays, made once: filling them allocates nothing.
        self._tokens = np.ctypeslib.as_array(batch.token, (size,))
        self._positions = np.ctypeslib.as_array(batch.pos, (size,))
        self._wanted = np.ctypeslib.as_array(batch.logits, (size,))
        self._wanted[:] = 0
        np.ctypeslib.as_array(batch.n_seq_id, (size,))[:] = 1
        for i in range(size):
            batch.seq_id[i][0] = 0
        self._batch_size = size

    @property
    def _is_tiny(self) -> bool:
        return self.path.stat().st_size < _TINY_BYTES

    @property
    def threads(self) -> int:
        """CPU threads it computes one token with, at most."""
        if self.options.threads != "auto":
            return self.options.threads
        return 1 if self._is_tiny else cpus().threads

    @property
    def threads_batch(self) -> int:
        """CPU threads it computes several tokens at once with, at most."""
        return self.threads if self.options.threads_batch == "auto" else self.options.threads_batch

    def set_threads(self, threads: int, threads_batch: int) -> None:
        """Change the threads for one token and for several, as the options of their names do."""
        self._check_open()
        self.options = msgspec.structs.replace(self.options, threads=threads, threads_batch=threads_batch)
        self._adapt()
        lib.llama_set_n_threads(self._context, self.threads, self.threads_batch)

    def _adapt(self) -> None:
        """Let the number of threads follow what else the machine does, if nobody has set it and it matters."""
        adapts = self.options.threads == "auto" and not self._is_tiny and self.threads > 1 and not self.is_offloaded
        self._paced = pace.Paced(pace.shared(), self._use_threads) if adapts else None

    def _use_threads(self, threads: int) -> None:
        batch = threads if self.options.threads_batch == "auto" else self.threads_batch
        lib.llama_set_n_threads(self._context, threads, batch)

    @property
    def news(self) -> str | None:
        """What there is to say, once, about the pace it computes at."""
        return None if self._paced is None else self._paced.pace.news()

    @property
    def gpu_layers(self) -> int:
        """Layers asked onto GPUs; -1 is all."""
        return loading.layers_on_gpu(self.options)

    @property
    def is_offloaded(self) -> bool:
        """Does a GPU compute all of its layers?"""
        return bool(self.gpus) and not 0 <= self.gpu_layers <= lib.llama_model_n_layer(self._model)  # the output is one

    @property
    def batch_size(self) -> int:
        """Most tokens of a prompt it computes at once."""
        return self._batch_size

    @property
    def devices(self) -> frozenset[str]:
        """What computes its layers: the CPU and GPUs by their numbers."""
        split, found = self.options.tensor_split, set[str]()
        if self.gpus and self.options.split == "none":
            found = {str(self.options.main_gpu)}
        elif self.gpus:
            found = {str(i) for i in range(len(self.gpus)) if not any(split) or split[i : i + 1] > (0,)}
        return frozenset(found if self.is_offloaded else {"CPU", *found})

    @property
    def device(self) -> str:
        """Where the model's layers are, in words."""
        if not self.gpus:
            prompts = "" if self.threads_batch == self.threads else f", {self.threads_batch} for prompts"
            return f"CPU, {self.threads} thread{'s' if self.threads > 1 else ''}{prompts}"
        layers = "all layers" if self.is_offloaded else f"{self.gpu_layers} layers"
        return f"{layers} on {', '.join(self.gpus)}"

    def metadata(self, key: str) -> str | None:
        """Read one string of the GGUF's metadata."""
        buffer = ctypes.create_string_buffer(512)
        count = lib.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if count >= 0 else None

    def template(self, renderer: Renderer, source: str | None = None) -> ChatTemplate:
        """Return the model's chat template, or `source` in its place.

        Raises ModelUnreadableError if there is none.
        """
        if source is None:
            raw = lib.llama_model_chat_template(self._model, None)
            if not raw:
                raise ModelUnreadableError(
                    f"{self.path} carries no chat template, so there is no way to put a question to it",
                    hint="give one with --chat-template FILE, or chat_template in models.toml",
                )
            source = raw.decode("utf-8", "replace")
        spelled = self.vocabulary.spelled
        bos, eos = spelled(self.vocabulary.bos), spelled(self.vocabulary.eos)
        return ChatTemplate(source, bos=bos, eos=eos, renderer=renderer)

    def set_sampling(self, settings: SamplingSettings, seed: int) -> None:
        """Choose how `sample` draws, beginning a new stream of random numbers."""
        self._check_open()
        if self._sampler is not None:
            self._sampler.close()
        self._sampler = Sampler(settings, seed=seed, vocabulary_size=self.vocabulary.size)

    def sample(self) -> int:
        """Draw the token behind `ids` from the logits; it is not fed."""
        self._check_open()
        if self._sampler is None or not self._has_logits:
            raise RuntimeError("sampling needs set_sampling() first, and logits of the last token")
        return self._sampler.sample(self._context, self.ids, row=-1 - len(self._drafted))

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
        """Feed one token, and compute the drafted ones behind it in the same batch, MAX_DRAFT at most.

        A token that was drafted to come here is computed already, and no new draft is taken then. Raises
        ContextFullError where the token has no room (drafts that have none are left out) and DecodeError where
        llama.cpp fails. Drafting needs an engine that `keeps_past`.
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
        drafted = drafted[: max(0, min(MAX_DRAFT, self._batch_size - 1, self.context - position - 1))]
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
            self._cut(len(self.ids))

    def feed(self, ids: Sequence[int]) -> None:
        """Feed tokens in batches; a cancel stops between two of them.

        Raises CancelledError, ContextFullError or DecodeError; what was fed before it stays fed.
        """
        self._check_open()
        if len(self.ids) + len(ids) > self.context:
            raise self._full()
        if self._sampler is not None:
            self._sampler.forget()
        self._drop_draft()
        for start in range(0, len(ids), self._batch_size):
            if self.cancel.is_set() or self._stop.is_set():
                raise CancelledError("cancelled while reading the prompt")
            part = ids[start : start + self._batch_size]
            count, position = len(part), len(self.ids)
            self._tokens[:count] = part
            self._positions[:count] = np.arange(position, position + count)
            self._wanted[:count] = 0
            self._wanted[count - 1] = start + count == len(ids)
            self._compute(count)
            self.ids.extend(part)
            self.fed += count

    def read_ahead(self, target: Sequence[int]) -> None:
        """Make the engine hold `target` in a thread of its own.

        What fails there is logged, and fails again when it is asked for in the foreground.
        """
        self._check_open()
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix=f"glimp {self.name}")
        self._reading = self._pool.submit(self._read_ahead, target)

    def _read_ahead(self, target: Sequence[int]) -> None:
        self._reader, start, before = threading.get_ident(), perf_counter(), self.fed
        try:
            self.sync(target)
        except GlimpError as error:
            binding.log.debug("%s reads no further ahead: %s", self.name, error)
        finally:
            self.fed_ahead += self.fed - before
            self.ahead_seconds += perf_counter() - start

    @property
    def reads_ahead(self) -> bool:
        """Is it reading ahead now?"""
        return self._reading is not None and not self._reading.done()

    def stop_reading(self) -> None:
        """Stop reading ahead, behind the batch that is being computed; what was read stays."""
        if self._reading is None or threading.get_ident() == self._reader:
            return
        reading, self._reading = self._reading, None
        self._stop.set()
        try:
            reading.result()
        finally:
            self._stop.clear()

    def _check_open(self) -> None:
        if self._reading is not None:
            self.stop_reading()
        if not self._context:
            raise GlimpError(f"{self.path.name} is closed: the pair it belongs to was left")

    def _compute(self, count: int) -> None:
        if len(self.ids) + count > self.context:
            raise self._full()
        self._batch.n_tokens = count
        if self._paced is not None and (count == 1 or self.options.threads_batch == "auto"):
            failed = self._paced.run(count, self._decode)
        else:
            failed = self._decode()
        if not failed:
            self._has_logits = bool(self._wanted[count - 1])
            return
        # The cache may hold a part of the batch: go back to what `ids` says.
        kept = self.rewind(len(self.ids))
        del self.ids[kept:]
        if failed == 1:
            raise self._full()
        raise DecodeError(f"llama.cpp could not compute {count} tokens with {self.name} (llama_decode gave {failed})")

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
            keep = self.rewind(min(keep, len(target) - 1))
        self.feed(target[keep:])
        return len(target) - keep

    def rewind(self, length: int) -> int:
        """Go back to the first `length` tokens, or as few below as the architecture allows; return how many are kept.

        Plain attention goes back to any length. Recurrent, hybrid and sliding-window models go back to the last
        snapshot, or to the start: `llama_memory_seq_rm` says what worked. Logits have to be computed again.
        """
        self._check_open()
        self._has_logits, self._drafted = False, []
        if self._sampler is not None:
            self._sampler.forget()
        if not self._cut(length):
            length = self._restore(length)
        del self.ids[length:]
        self._snapshots = [snapshot for snapshot in self._snapshots if snapshot[0] <= length]
        return length

    def _cut(self, length: int) -> bool:
        if not lib.llama_memory_seq_rm(self._memory, 0, length, -1):
            return False
        # A sliding-window cache removes what it is told to, but what the window needs may have been dropped long ago:
        # then the oldest position it holds comes too late, or it holds none (-1).
        oldest = lib.llama_memory_seq_pos_min(self._memory, 0)
        return not self._window or length == 0 or 0 <= oldest <= max(0, length - self._window)

    def _restore(self, length: int) -> int:
        for kept, state in reversed(self._snapshots):
            if kept <= length:
                done = lib.llama_state_seq_set_data_ext(
                    self._context, state, len(state), 0, lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
                )
                if done and self._cut(kept):
                    return kept
        lib.llama_memory_clear(self._memory, True)
        return 0

    def snapshot(self) -> None:
        """Remember this point, where the architecture could not come back to it by itself; else do nothing."""
        self._check_open()
        if self.keeps_past or (self._snapshots and self._snapshots[-1][0] == len(self.ids)):
            return
        flags = lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
        state = (ctypes.c_uint8 * lib.llama_state_seq_get_size_ext(self._context, 0, flags))()
        if lib.llama_state_seq_get_data_ext(self._context, state, len(state), 0, flags):
            self._snapshots = [*self._snapshots[1 - _SNAPSHOTS :], (len(self.ids), state)]

    def comes_back_to(self, ids: list[int]) -> bool:
        """Is there a snapshot behind these tokens, which begin what is held?"""
        return any(length == len(ids) for length, _ in self._snapshots) and self.ids[: len(ids)] == ids

    @cached_property
    def fingerprint(self) -> str:
        """What tells the model's file from others (see `states.fingerprint`)."""
        return states.fingerprint(self.path)

    @property
    def state_bytes(self) -> int:
        """The most bytes that `save_state`'s file will have."""
        self._check_open()
        return states.size_bytes(self._context, self.ids, self._snapshots)

    def save_state(self, path: Path) -> int:
        """Write all that is held into a file; return its size in bytes. Logits have to be computed again.

        Raises CacheError or OSError where that fails; the file may be there in part then.
        """
        depends_on = states.depends_on(self.fingerprint, self.options)
        self.rewind(len(self.ids))  # only what `ids` says
        return states.write(path, self._context, self.ids, self._snapshots, depends_on)

    def load_state(self, path: Path) -> int:
        """Hold what was saved, in place of what is held; return how many tokens. Logits have to be computed again.

        Raises CacheError or OSError where the file is damaged, of another model or of other options, or holds more than
        there is room for; then nothing is held.
        """
        depends_on = states.depends_on(self.fingerprint, self.options)
        self.rewind(0)
        self.ids, self._snapshots = states.read(path, self._context, self.context, depends_on)
        return len(self.ids)

    def close(self) -> None:
        """Free everything, the context before the model. Safe to call twice."""
        self.stop_reading()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None
        self._has_logits, self._drafted = False, []
        if self._vocabulary is not None:
            self._vocabulary.close()
        # Forgotten first, freed then: an interrupt between the two must not lead to freeing twice.
        batch, self._batch = self._batch, None
        context, self._context = self._context, None
        model, self._model = self._model, None
        if batch is not None:
            lib.llama_batch_free(batch)
        if context:
            lib.llama_free(context)
        if model:
            lib.llama_model_free(model)


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
