"""What the servers of pairs answer before a pair is loaded: what they run, how far away they are, whose vocabulary.

Connects, to the servers of the pairs that are asked about and to nothing else, all at the same time. A server that does
not answer costs `REACH_SECONDS`; nothing is generated, and no error is raised for what a server does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Protocol

import msgspec

from glimp_local import units
from glimp_local.engines.remote.address import warning
from glimp_local.engines.remote.backend import RemoteBackend
from glimp_local.engines.remote.vocabulary import ServerVocabulary
from glimp_local.errors import CancelledError, GlimpError
from glimp_local.machine.addresses import place_of
from glimp_local.models import files
from glimp_local.models.gguf.header import read_header
from glimp_local.models.gguf.vocabulary import header_vocabulary
from glimp_local.models.info import TemplateInfo, describe_template
from glimp_local.routing import MODELS, Model
from glimp_local.settings import EngineOptions, ModelSource, PairConfig
from glimp_local.text import one_line

REACH_SECONDS = 5.0
"""Longest time for a server to say what it runs."""
COMPARE_SECONDS = 15.0
"""Longest time, after that, for comparing all vocabularies."""
_HINT = "is the machine on, and the server at work?"
_MOST_SHOWN, _MOST_PROBLEM = 200, 500
"""Characters of a server's own words."""


class ServerState(msgspec.Struct, frozen=True):
    """A model on a server, as that answered just now. What was not told is null."""

    place: str
    """Host and port."""
    is_ready: bool
    """Can the model be used now?"""
    problem: str | None = None
    """Why it cannot."""
    hint: str | None = None
    """What to do then."""
    warning: str | None = None
    """Said if what is sent there can be read on the way."""
    engine: str | None = None
    """Name and, if told, version of the program."""
    model: str | None = None
    """The model's name on the server."""
    context_tokens: int | None = None
    """Most tokens of a conversation."""
    trained_context_tokens: int | None = None
    slots: int | None = None
    """Conversations it serves at the same time; null if it batches whatever comes."""
    latency_seconds: float | None = None
    """Of the quickest of some small requests."""
    vocabulary_tokens: int | None = None
    takes_token_ids: bool | None = None
    """Else it is sent text, and cannot be the small model of a routed pair."""
    template: TemplateInfo | None = None
    """Null if it keeps its chat template to itself."""

    def in_words(self) -> str:
        """Return what it is, in a line."""
        if not self.is_ready:
            return self.problem or "cannot be used"
        context = f"{self.context_tokens:,}" if self.context_tokens is not None else "unknown"
        facts = [self.engine, self.model, f"context {context}"]
        if self.slots is not None:
            facts.append(f"{self.slots} slot{'s' * (self.slots != 1)}")
        if self.takes_token_ids is False:
            facts.append("text alone, no token ids")
        if self.latency_seconds is not None:
            facts.append(f"{units.duration(self.latency_seconds)} there and back")
        return ", ".join(filter(None, facts))


class PairServers(msgspec.Struct, frozen=True):
    """What the servers of a pair answered."""

    small: ServerState | None
    """Null if this machine computes the model, or the pair does without it."""
    large: ServerState | None
    shares_vocabulary: bool | None
    """Have the two models one vocabulary, so that token ids are handed over? Null if that cannot be told."""
    vocabulary_difference: str | None
    """Why they have not, or why it cannot be told."""

    @property
    def states(self) -> dict[Model, ServerState]:
        """What there is, by model."""
        found: dict[Model, ServerState | None] = {"small": self.small, "large": self.large}
        return {model: state for model, state in found.items() if state is not None}

    @property
    def is_ready(self) -> bool:
        """Can all of them be used now?"""
        return all(state.is_ready for state in self.states.values())

    def vocabulary_in_words(self) -> str | None:
        """Return what is handed over between the models, as a sentence; None of a pair of one model."""
        if self.shares_vocabulary:
            return "The two models have one vocabulary: token ids are handed over"
        if self.vocabulary_difference is None:
            return None
        if self.shares_vocabulary is None:
            return f"Whether the two models have one vocabulary is not known: {self.vocabulary_difference}"
        return f"The vocabularies differ ({self.vocabulary_difference}): text is handed over, not token ids"


class _Shown(Protocol):
    """A vocabulary that shows its tokens."""

    @property
    def size(self) -> int: ...

    def shown(self, ids: Sequence[int]) -> str: ...


def look_at(config: PairConfig) -> PairServers:
    """Connect to the servers of a pair."""
    return look_at_all({"": config})[""]


def look_at_all(configs: Mapping[str, PairConfig]) -> dict[str, PairServers]:
    """Connect to the servers of several pairs, all at the same time; one that several pairs have is asked once."""
    wanted = {name: _sources(config) for name, config in configs.items()}
    visits = {source: _Visit(source) for source in {one for sources in wanted.values() for one in sources.values()}}
    try:
        _finish(list(visits.values()), REACH_SECONDS)
        found = {name: {model: visits[source] for model, source in sources.items()} for name, sources in wanted.items()}
        compared = {name: _Comparison(configs[name], visited) for name, visited in found.items()}
        _finish(list(compared.values()), COMPARE_SECONDS)
        return {
            name: PairServers(
                small=visited["small"].state if "small" in visited else None,
                large=visited["large"].state if "large" in visited else None,
                shares_vocabulary=compared[name].shares_vocabulary,
                vocabulary_difference=compared[name].difference,
            )
            for name, visited in found.items()
        }
    finally:
        for visit in visits.values():
            visit.close()


def _sources(config: PairConfig) -> dict[Model, ModelSource]:
    """Return the servers of a pair, without what does not matter to them."""
    sources = {model: config.source(model) for model in MODELS if model in config.remote_models}
    plain = EngineOptions()
    return {
        model: msgspec.structs.replace(source, options=plain) for model, source in sources.items() if source is not None
    }


class _Work:
    """Something that waits for a server: in a thread of its own, which nobody need wait for."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._thread = threading.Thread(target=work, name=name, daemon=True)
        self._thread.start()

    def is_finished(self, seconds: float) -> bool:
        """Wait until it is."""
        self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive()


def _finish(work: Sequence[_Visit | _Comparison], seconds: float) -> None:
    """Wait for the end of all, this long at most, and give up those that have not ended."""
    until = monotonic() + seconds
    for each in work:
        if not each.work.is_finished(until - monotonic()):
            each.give_up()


class _Visit:
    """One server, asked what it runs. After its end `backend` is there if its model can be used."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self.cancel = threading.Event()
        self._lock = threading.Lock()
        self._closed = False
        self.backend: RemoteBackend | None = None
        place = place_of(source)
        self.state = ServerState(place, is_ready=False)
        self.work = _Work(self._look, f"glimp-look-{place}")

    def _look(self) -> None:
        patient = msgspec.structs.replace(self._source, timeout=REACH_SECONDS + COMPARE_SECONDS)
        try:
            backend = RemoteBackend(patient, context=None, cancel=self.cancel, loading_seconds=0.0)
        except CancelledError:
            return  # given up
        except GlimpError as error:
            self._tell(str(error), error.hint)
            return
        except Exception as error:  # noqa: BLE001 - whatever a server answers, the others are looked at
            self._tell(f"cannot be used: {type(error).__name__}: {error}", None)
            return
        facts = backend.facts
        state = ServerState(
            place=self.state.place,
            is_ready=True,
            warning=warning(backend.address),
            engine=one_line(facts.engine)[:_MOST_SHOWN],
            model=one_line(facts.model)[:_MOST_SHOWN],
            context_tokens=facts.context,
            trained_context_tokens=facts.trained_context,
            slots=facts.slots,
            latency_seconds=backend.round_trip_seconds,
            vocabulary_tokens=facts.vocabulary_size,
            takes_token_ids=backend.takes_ids,
            template=None if facts.template is None else describe_template(facts.template),
        )
        with self._lock:
            if not self._closed:
                self.backend, self.state = backend, state
                return
        backend.close()

    def _tell(self, problem: str, hint: str | None) -> None:
        """Say why the server cannot be used; where it is, is said beside that."""
        place = self.state.place
        says = one_line(problem.removeprefix(place).removeprefix(":"))
        with self._lock:
            if not self._closed:
                self.state = ServerState(place, is_ready=False, problem=says[:_MOST_PROBLEM], hint=hint)

    def give_up(self) -> None:
        """Wait no longer for an answer."""
        with self._lock:
            if self.backend is None:
                says = f"no answer within {REACH_SECONDS:g} seconds"
                self.state = ServerState(self.state.place, is_ready=False, problem=says, hint=_HINT)
        self.close()

    def close(self) -> None:
        """End all connections."""
        self.cancel.set()
        with self._lock:
            self._closed = True
            backend = self.backend
        if backend is not None:
            backend.close()


class _Comparison:
    """Whether the two models of a pair have one vocabulary, as far as that can be told."""

    def __init__(self, config: PairConfig, visited: Mapping[Model, _Visit]) -> None:
        self._config = config
        self._visited = visited
        self._lock = threading.Lock()
        self.shares_vocabulary: bool | None = None
        self.difference: str | None = None
        self.work = _Work(self._compare, "glimp-compare")

    def _compare(self) -> None:
        if len(self._config.models) < len(MODELS) or not self._visited:
            return
        try:
            shares, differs = self._verdict()
        except GlimpError as error:
            shares, differs = None, one_line(str(error))
        with self._lock:
            if self.difference is None:
                self.shares_vocabulary, self.difference = shares, differs

    def _verdict(self) -> tuple[bool | None, str | None]:
        tokens: dict[Model, _Shown] = {}
        for model in MODELS:
            found = self._server_tokens(model) if model in self._visited else self._file_tokens(model)
            if isinstance(found, str):
                return None, found
            tokens[model] = found
        server: Model = "large" if "large" in self._visited else "small"
        other: Model = "small" if server == "large" else "large"
        asked = tokens[server]
        assert isinstance(asked, ServerVocabulary)
        differs = asked.difference(tokens[other])
        return differs is None, differs

    def _server_tokens(self, model: Model) -> ServerVocabulary | str:
        """Return the tokens of a server's model, or why they cannot be seen."""
        visit = self._visited[model]
        backend, place = visit.backend, visit.state.place
        if backend is None:
            return f"{place} cannot be used now"
        if not backend.takes_ids:
            return f"{place} takes text alone"
        return ServerVocabulary(backend.api, backend.facts.vocabulary_size, backend.facts.bos, visit.cancel)

    def _file_tokens(self, model: Model) -> _Shown | str:
        """Return the tokens of a GGUF, or why they cannot be seen."""
        source = self._config.source(model)
        assert source is not None
        with suppress(GlimpError, OSError):
            found = header_vocabulary(read_header(files.find(source)))
            if found is not None and found.is_shown:
                return found
            return f"the {model} model's is of a kind that glimp cannot show"
        return f"the {model} model's file is not here"

    def give_up(self) -> None:
        """Wait no longer."""
        with self._lock:
            if self.shares_vocabulary is None and self.difference is None:
                self.difference = f"comparing took longer than {COMPARE_SECONDS:g} seconds"
