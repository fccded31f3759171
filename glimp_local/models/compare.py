"""Whether two GGUFs would make a pair, and what would be handed over between them: told from their headers.

By the same rules that a pair goes by when it is loaded (`glimp_local.models.sharing`, `glimp_local.pair`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from glimp_local.models.gguf.header import Header
from glimp_local.models.gguf.vocabulary import header_vocabulary
from glimp_local.models.info import ModelInfo, inspect
from glimp_local.models.sharing import difference
from glimp_local.routing import Model

_TEMPLATE = "tokenizer.chat_template"
_WORTH_ROUTING = 2
"""A small model that is less than this many times faster leaves little to gain."""


class Comparison(msgspec.Struct, frozen=True):
    """Two models side by side."""

    verdict: str
    """Would they make a pair? One sentence."""
    obstacles: tuple[str, ...]
    """Why they would not; empty where they would."""
    notices: tuple[str, ...]
    """What to know of the pair they would make."""
    hand_over: Literal["token ids", "text"] | None
    """How one model would be told what the other wrote; null where they make no pair."""
    needs_template: bool
    """Has one of them no chat template, so that the pair must be given one?"""
    vocabulary_difference: str | None
    """Why token ids cannot be handed over; null where they can."""
    drafting: bool
    """Could the small model draft for the large one?"""
    same_template: bool
    same_markers: bool
    """Do both templates mark a thought alike, or both not at all?"""
    same_family: bool | None
    """Do the files name one family (`basename`)? Null where one of them names none."""
    active_ratio: float | None
    """Parameters that work on a token: the large model's over the small one's."""
    context_tokens: int | None
    """The shorter of the contexts they were trained for: more than that the pair cannot use."""
    small: ModelInfo
    """The model with fewer parameters; of equal ones, the smaller file."""
    large: ModelInfo


def compare(one: Header, other: Header) -> Comparison:
    """Compare two models, in any order; raises ModelUnreadableError where a header holds nonsense."""
    by_size = sorted(
        ((inspect(header), header) for header in (one, other)),
        key=lambda pair: (pair[0].parameters, pair[0].size_bytes),
    )
    (small, small_header), (large, large_header) = by_size
    vocabularies = header_vocabulary(small_header), header_vocabulary(large_header)
    if vocabularies[0] is None or vocabularies[1] is None:
        differs: str | None = "one of them has none that glimp knows"
    else:
        differs = difference(vocabularies[0], vocabularies[1])
    roles: tuple[tuple[Model, ModelInfo], ...] = (("small", small), ("large", large))
    obstacles = [obstacle for role, info in roles for obstacle in _obstacles(role, info)]
    if one.path.resolve() == other.path.resolve():
        obstacles.append("it is one file twice")
    templateless = [role for role, info in roles if info.template is None]
    hand_over: Literal["token ids", "text"] | None = None
    if not obstacles:
        hand_over = "text" if differs else "token ids"
    ratio = large.active_parameters / small.active_parameters if small.active_parameters else None
    same_markers = _markers(small) == _markers(large)
    return Comparison(
        verdict=_verdict(obstacles, templateless, differs),
        obstacles=tuple(obstacles),
        notices=() if obstacles else tuple(_notices(small, large, ratio, same_markers=same_markers)),
        hand_over=hand_over,
        needs_template=bool(templateless),
        vocabulary_difference=differs,
        drafting=hand_over == "token ids",
        same_template=small_header.text(_TEMPLATE) == large_header.text(_TEMPLATE),
        same_markers=same_markers,
        same_family=_same_family(small, large),
        active_ratio=ratio,
        context_tokens=min((info.context_tokens for info in (small, large) if info.context_tokens), default=None),
        small=small,
        large=large,
    )


def _obstacles(role: Model, info: ModelInfo) -> list[str]:
    """Say what a model lacks to be one of a pair."""
    missing = {"weights": info.parameters, "vocabulary that glimp knows": info.vocabulary}
    return [f"the {role} model has no {what}" for what, found in missing.items() if not found]


def _verdict(obstacles: list[str], templateless: list[Model], differs: str | None) -> str:
    if obstacles:
        return f"These two make no pair: {'; '.join(obstacles)}."
    pair = "make a pair"
    if templateless:
        who = " and ".join(templateless)
        pair += f" with --chat-template FILE (the {who} model{'s have' if len(templateless) > 1 else ' has'} none)"
    if differs:
        return f"These two {pair}, but their vocabularies differ ({differs}): text is handed over, not token ids."
    return f"These two {pair}: they have one vocabulary, so token ids are handed over."


def _notices(small: ModelInfo, large: ModelInfo, ratio: float | None, *, same_markers: bool) -> list[str]:
    notices = []
    if not same_markers:
        notices.append(
            "their chat templates mark thought in different ways: one model is shown the other's markers as text"
        )
    elif _markers(small) is None:
        notices.append("neither chat template marks a thought: the pair is routed over its whole reply")
    if ratio is not None and ratio < _WORTH_ROUTING:
        notices.append(
            f"the large model computes only {ratio:.2g} times as much for a token: a step by the small one saves little"
        )
    if _same_family(small, large) is False:
        notices.append("they are of different families: pairs of one family work better together")
    contexts = small.context_tokens, large.context_tokens
    if all(contexts) and contexts[0] != contexts[1]:
        notices.append(f"the shorter context counts: {min(filter(None, contexts)):,} tokens")
    return notices


def _markers(info: ModelInfo) -> tuple[str | None, str | None] | None:
    if info.template is None or info.template.thinking_close is None:
        return None
    return info.template.thinking_open, info.template.thinking_close


def _same_family(one: ModelInfo, other: ModelInfo) -> bool | None:
    if one.basename is None or other.basename is None:
        return None
    return one.basename.casefold() == other.basename.casefold()
