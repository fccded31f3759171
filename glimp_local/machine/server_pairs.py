"""Whether two models make a pair if one of them, or both, are on servers. Connects to these servers."""

from __future__ import annotations

from typing import Literal

import msgspec

from glimp_local.errors import UsageError
from glimp_local.machine.servers import PairServers, ServerState, look_at
from glimp_local.models import files
from glimp_local.models.gguf.header import read_header
from glimp_local.models.info import ModelInfo, TemplateInfo, inspect
from glimp_local.routing import MODELS, Model
from glimp_local.settings import PairConfig

Known = ModelInfo | ServerState


class ServerComparison(msgspec.Struct, frozen=True):
    """Two models side by side, as `models.compare.Comparison` has two files. What a server does not tell is null."""

    verdict: str
    """Do they make a pair? One sentence."""
    obstacles: tuple[str, ...]
    """Why they do not; empty where they do."""
    notices: tuple[str, ...]
    """What to know of the pair."""
    hand_over: Literal["token ids", "text"] | None
    """How one model is told what the other wrote; null where they make no pair."""
    needs_template: bool
    """Has one of them no chat template, so that the pair must be given one?"""
    vocabulary_difference: str | None
    """Why token ids cannot be handed over; null where they can."""
    drafting: bool
    """False: nothing is drafted for a model on a server, nor by one."""
    same_template: bool | None
    same_markers: bool | None
    """Do both templates mark a thought alike, or both not at all?"""
    same_family: bool | None
    active_ratio: float | None
    context_tokens: int | None
    """The shorter of the contexts: more than that the pair cannot use."""
    small: Known
    large: Known
    latency_seconds: float | None
    """Of the slower server."""


def compare_on_servers(name: str, config: PairConfig) -> ServerComparison:
    """Compare the models of a pair, at least one of them on a server.

    Raises UsageError for a pair of one model, ModelMissingError and ModelUnreadableError for a file.
    """
    if len(config.models) < len(MODELS):
        raise UsageError(f"{name} uses one model alone: there is nothing to compare")
    paths = files.find_all({model: source for model in config.local_models if (source := config.source(model))}, name)
    local = {model: inspect(read_header(path)) for model, path in paths.items()}
    servers = look_at(config)
    known: dict[Model, Known] = {**local, **servers.states}
    templateless = [] if config.chat_template else [model for model in MODELS if _needs_template(known[model])]
    obstacles = [obstacle for model in MODELS for obstacle in _obstacles(model, known[model])]
    hand_over: Literal["token ids", "text"] | None = None
    if not obstacles:
        hand_over = "token ids" if servers.shares_vocabulary else "text"
    markers = [_markers(known[model].template) for model in MODELS]
    same_markers = markers[0] == markers[1] if None not in markers else None
    contexts = [found for model in MODELS if (found := known[model].context_tokens) is not None]
    latencies = [state.latency_seconds for state in servers.states.values() if state.latency_seconds is not None]
    return ServerComparison(
        verdict=_verdict(obstacles, templateless, servers),
        obstacles=tuple(obstacles),
        notices=() if obstacles else tuple(_notices(servers, contexts, same_markers=same_markers)),
        hand_over=hand_over,
        needs_template=bool(templateless),
        vocabulary_difference=servers.vocabulary_difference,
        drafting=False,
        same_template=None,
        same_markers=same_markers,
        same_family=None,
        active_ratio=None,
        context_tokens=min(contexts, default=None),
        small=known["small"],
        large=known["large"],
        latency_seconds=max(latencies, default=None),
    )


def _obstacles(model: Model, known: Known) -> list[str]:
    if isinstance(known, ModelInfo):
        missing = {"weights": known.parameters, "vocabulary that glimp knows": known.vocabulary}
        return [f"the {model} model has no {what}" for what, found in missing.items() if not found]
    if not known.is_ready:
        return [f"the {model} model on {known.place} cannot be used now: {known.problem}"]
    if model == "small" and known.takes_token_ids is False:
        return [f"{known.place} takes no token ids, so its model cannot be glimpsed at, as a small model must be"]
    return []


def _needs_template(known: Known) -> bool:
    """Is there no template for its prompts? A server that takes token ids and hides its own renders them itself."""
    if isinstance(known, ServerState):
        return known.is_ready and known.template is None and known.takes_token_ids is False
    return known.template is None


def _markers(template: TemplateInfo | None) -> tuple[str | None, str | None] | None:
    return None if template is None else (template.thinking_open, template.thinking_close)


def _verdict(obstacles: list[str], templateless: list[Model], servers: PairServers) -> str:
    if not servers.is_ready:
        return f"Whether these two make a pair is not known: {'; '.join(obstacles)}."
    if obstacles:
        return f"These two make no pair: {'; '.join(obstacles)}."
    pair = "make a pair"
    if templateless:
        who = " and ".join(templateless)
        pair += f" with --chat-template FILE (the {who} model{'s have' if len(templateless) > 1 else ' has'} none)"
    if servers.shares_vocabulary:
        return f"These two {pair}: they have one vocabulary, so token ids are handed over."
    differs = servers.vocabulary_difference
    if servers.shares_vocabulary is None:
        return f"These two {pair}, but not known to have one vocabulary ({differs}): then text is handed over."
    return f"These two {pair}, but their vocabularies differ ({differs}): text is handed over, not token ids."


def _notices(servers: PairServers, contexts: list[int], *, same_markers: bool | None) -> list[str]:
    notices = []
    if same_markers is False:
        notices.append(
            "their chat templates mark thought in different ways: one model is shown the other's markers as text"
        )
    if len(set(contexts)) > 1:
        notices.append(f"the shorter context counts: {min(contexts):,} tokens")
    return [*notices, *filter(None, (state.warning for state in servers.states.values()))]
