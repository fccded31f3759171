"""A pair of models, ready for conversations: what the two have in common, and whose turn it is to use them.

Knows nothing of files, servers or loading: its backends are given to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import msgspec

from glimp_local.engines.protocol import Backend, KeepsConversations
from glimp_local.errors import UsageError
from glimp_local.machine.choice import Offer
from glimp_local.messages import Message
from glimp_local.records.entropies import EntropyHistory
from glimp_local.routing import MODELS, Alone, Model, Policy, Random, Share, Speculative, Threshold
from glimp_local.settings import PairConfig, RunSettings, ThinkingMarkers

if TYPE_CHECKING:
    from glimp_local.engines.domain import Objection
    from glimp_local.engines.shelf import Shelf
    from glimp_local.machine.plan import Plan

_LOOK_SECONDS = 0.05
"""How often somebody who waits for the pair looks whether to give up."""


class Pair:
    """The backends of one pair. A context manager: leaving it frees both models.

    Under the policies `small` and `large` only that model is loaded. `plan` says where models on this machine are
    (None: none is), `notices` is what came up while they were loaded. `offer` is a pair to offer to somebody whose
    question this one is not for; `fallback` says why it is used though it is narrow and nobody named it, None if that
    is not so. What is in `closing` is called when it is closed.
    """

    def __init__(
        self,
        name: str,
        config: PairConfig,
        backends: Mapping[Model, Backend],
        *,
        plan: Plan | None = None,
        notices: Sequence[str] = (),
        offer: Offer | None = None,
        fallback: str | None = None,
        closing: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.name = name
        self.config = config
        self.backends = dict(backends)
        self.plan = plan
        self.notices = list(notices)
        self.offer = offer
        self.fallback = fallback
        self._closing = closing
        self.parallel = min(backend.parallel for backend in self.backends.values())
        """Runs it can have at the same time."""
        self._at_work = threading.BoundedSemaphore(self.parallel)
        self.shelf: Shelf | None = None
        """Where what was read of other conversations is kept; None if it is not."""
        self.markers = self._choose_markers()
        """How the pair marks its thought; None if it does not think."""
        difference = self._difference()
        self.shares_vocabulary = difference is None
        if difference is not None:
            self.notices.append(
                f"the two models are not of one vocabulary ({difference}): steps are handed over as text, and "
                "pairs of one family work better together"
            )

    def _choose_markers(self) -> ThinkingMarkers | None:
        if isinstance(self.config.thinking, ThinkingMarkers):
            return self.config.thinking
        if self.config.thinking == "none":
            return None
        found = {model: backend.markers for model, backend in self.backends.items()}
        chosen = found.get("large") or found.get("small")
        if chosen is not None and any(markers != chosen for markers in found.values()):
            self.notices.append(
                f"only one of the two chat templates marks its thought with {chosen.close}: the other model is shown "
                "the markers as text"
            )
        return chosen

    def _difference(self) -> str | None:
        """Return what keeps the models from handing over token ids; None if nothing does."""
        if len(self.backends) < len(MODELS):
            return None
        small, large = self.backends["small"].vocabulary, self.backends["large"].vocabulary
        if small is not None and small is large:
            return None
        if small is None or large is None:
            return "one of them does not reveal its tokens"
        return small.difference(large)

    @contextmanager
    def run(self, cancel: threading.Event, *, wait: bool) -> Iterator[bool]:
        """Have the use of both models, if the value is True; else `cancel` was set while they were waited for.

        As many runs as `parallel` says have it at the same time. Raises UsageError if they are there already and nobody
        wants to wait.
        """
        is_mine = self._at_work.acquire(blocking=False)
        if not (is_mine or wait):
            raise self._in_use()
        while not (is_mine or cancel.is_set()):
            is_mine = self._at_work.acquire(timeout=_LOOK_SECONDS)
        try:
            yield is_mine
        finally:
            if is_mine:
                self._at_work.release()

    def _in_use(self) -> UsageError:
        runs = "another run is" if self.parallel == 1 else f"other runs, up to {self.parallel} at once, are"
        return UsageError(f"{runs} using this pair", hint="read its events to the end, or close them")

    def reads_along(self, settings: RunSettings) -> bool:
        """Return whether each model reads what the other one writes at once, and not when its turn comes."""
        if settings.catch_up != "auto":
            return settings.catch_up == "eager"
        devices = [backend.devices for backend in self.backends.values()]
        return len(devices) == len(MODELS) and devices[0].isdisjoint(devices[1])

    def as_read(self, messages: Sequence[Message]) -> list[Message]:
        """Return messages as the models read them: to a narrow pair, taught on lines, a line break is a space."""
        if self.config.only is None:
            return list(messages)
        return [msgspec.structs.replace(message, content=" ".join(message.content.split())) for message in messages]

    def objection(self, question: str) -> Objection | None:
        """Return what a narrow pair has to object to a question; None if nothing, and always for any other pair.

        If it `declines`, the question is clearly outside of what the pair was made for: do not ask it, and show its
        words and `scope`. Else it is a warning.
        """
        if self.config.only is None:
            return None
        from glimp_local.engines import domain  # noqa: PLC0415 - other pairs do without

        known = (vocabulary for backend in self.backends.values() if (vocabulary := backend.vocabulary) is not None)
        # It is asked of many words: a server would take a while.
        found = domain.objection(question, next((one for one in known if one.is_near), None))
        if found is None:
            return None
        verdict = f"is not for the pair {self.name!r}" if found.declines else f"may be too much for {self.name!r}"
        return found._replace(words=f"this question {verdict}: {found.words}")

    @property
    def placement(self) -> str:
        """Where the models are that this machine computes, and the memory they take, in one line; empty without any."""
        if self.plan is None:
            return ""
        line = self.plan.line()
        is_part = len(self.plan.models) < len(self.backends)
        return f"{min(self.plan.models)} {line}" if is_part and line.startswith("on ") else line

    @property
    def can(self) -> str:
        """What a narrow pair can do, with an example; empty for any other pair."""
        if self.config.only is None:
            return ""
        from glimp_local.engines import domain  # noqa: PLC0415 - other pairs do without

        return f'It can do {self.config.only}, like "{domain.EXAMPLE}", and nothing else'

    def entropies(self, settings: RunSettings | None = None) -> EntropyHistory | None:
        """Return the entropies this pair has shown under these settings (its own without); None for a single model."""
        if len(self.backends) < len(MODELS):
            return None
        settings = settings or self.config
        small, large = (self.backends[model] for model in MODELS)
        # What an earlier glimp stored is found by the names of the files; a model elsewhere has none.
        files = [path for backend in (small, large) if (path := getattr(backend, "path", None)) is not None]
        return EntropyHistory(small.identity, large.identity, top_k=settings.top_k, task=settings.task, files=files)

    def policy(self, settings: RunSettings, seed: int) -> Policy:
        """Make the policy that settings ask for."""
        match settings.policy:
            case "threshold":
                return Threshold(settings.threshold)
            case "share":
                history = self.entropies(settings)
                return Share(
                    settings.share, threshold_nats=settings.threshold, history=history.read() if history else []
                )
            case "random":
                return Random(settings.share, seed)
            case "small" | "large":
                return Alone(settings.policy)
            case "speculative":
                return Speculative()

    def forget(self) -> None:
        """Let both models forget all they have read: what comes next owes nothing to what was before.

        Raises UsageError while any run uses them.
        """
        held = 0
        try:
            while held < self.parallel:
                if not self._at_work.acquire(blocking=False):
                    raise self._in_use()
                held += 1
            for backend in self.backends.values():
                backend.forget()
        finally:
            for _ in range(held):
                self._at_work.release()

    def keep_conversations(self, limit_bytes: int) -> None:
        """Keep in memory what both models have read of other conversations, within a limit, for when these continue."""
        from glimp_local.engines.shelf import Shelf  # noqa: PLC0415 - numpy, which most pairs do without until they load

        self.shelf = Shelf(limit_bytes)
        for backend in self.backends.values():
            if isinstance(backend, KeepsConversations):
                backend.keep_conversations(self.shelf)

    def close(self) -> None:
        """Free both models. Safe to call twice; while a run computes, only from the thread that reads its events."""
        for backend in self.backends.values():
            backend.close()
        for close in self._closing:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
