"""What precedes a turn: lanes for its settings, messages for its question, prompts for its models."""

from __future__ import annotations

from collections.abc import Sequence

from glimp_local.engines.protocol import Prompt
from glimp_local.errors import PromptTooLongError, UsageError
from glimp_local.events import Started
from glimp_local.messages import Constraint, Message, Tool, no_tools
from glimp_local.pair import Pair
from glimp_local.routing import Model, Policy, PolicyName
from glimp_local.session.loop import Loop, Steering
from glimp_local.session.transcript import Transcript
from glimp_local.session.turn import Turn
from glimp_local.settings import RunSettings

Prompts = dict[Model, Prompt]
"""A conversation as each model reads it."""

_GO_BY_GLIMPSES: frozenset[PolicyName] = frozenset({"threshold", "share"})
"""Policies that cannot decide without a glimpse; the others only record it."""

_MINIMUM_ROOM = 16
"""Tokens of room a prompt must leave, at least."""


def make_loop(
    pair: Pair,
    settings: RunSettings,
    policy: Policy,
    steering: Steering,
    seed: int,
    *,
    may_redo: bool,
    constraint: Constraint | None,
    is_raw: bool,
) -> tuple[Loop, str | None]:
    """Return a loop over new lanes, and what keeps the small model from drafting for the large one (None: nothing).

    Of the pair's models, those take part that the policy can choose. Raises UsageError if one is not loaded, or if the
    policy goes by glimpses and the small model cannot be glimpsed at, or if no answer can be held to `constraint`.
    """
    if missing := set(policy.models) - set(pair.backends):
        raise not_loaded(policy, missing.pop())
    can_glimpse = "small" in policy.models and pair.backends["small"].can_glimpse
    if policy.name in _GO_BY_GLIMPSES and not can_glimpse:
        raise UsageError(
            f"{pair.backends['small'].name} does not tell how sure it is, and the policy {policy.name!r} goes by that",
            hint="use a small model on this machine, or --policy large or small",
        )
    lanes = {
        model: backend.lane(settings, seed=seed, cancel=steering.cancel)
        for model, backend in pair.backends.items()
        if model in policy.models
    }
    if constraint is not None:
        if pair.config.only is not None:
            raise UsageError(f"the pair {pair.name!r} answers in words alone, not in JSON")
        for lane in lanes.values():
            lane.constrain(constraint)
    large, small = lanes.get("large"), lanes.get("small")
    obstacle = large.meet(small) if large is not None and small is not None else None
    close = None if pair.markers is None or is_raw else pair.markers.close
    transcript = Transcript(lanes, close=close, shares_vocabulary=pair.shares_vocabulary)
    reads_along = pair.reads_along(settings)
    loop = Loop(
        transcript,
        settings,
        policy,
        steering,
        can_glimpse=can_glimpse,
        reads_along=reads_along,
        may_redo=may_redo,
        keeps_blanks=is_raw,
    )
    return loop, obstacle


def as_messages(question: str | Sequence[Message]) -> list[Message]:
    """Return what is asked as messages; raises UsageError if they end neither with a question nor with a result."""
    asked = [Message("user", question)] if isinstance(question, str) else list(question)
    last = asked[-1] if asked else Message("user", "")
    if last.role != "tool" and (last.role != "user" or not last.content.strip()):
        raise UsageError("there is no question to answer")
    return asked


def prepared(pair: Pair, loop: Loop, messages: Sequence[Message], tools: Sequence[Tool], *, is_raw: bool) -> Prompts:
    """Return each model's prompt of a conversation; raises PromptTooLongError if it leaves no room for an answer.

    With `is_raw` the last message is the prompt as it is. Raises UsageError if there are tools, and a model knows none.
    """
    for model in loop.lanes if tools else ():
        if pair.backends[model].tool_style is None:
            raise UsageError(no_tools(pair.backends[model].name))
    read = pair.as_read(messages)
    prompts = {
        model: lane.prepare_text(read[-1].content) if is_raw else lane.prepare(read, pair.markers, tools=tools)
        for model, lane in loop.lanes.items()
    }
    for model, prompt in prompts.items():
        backend = pair.backends[model]
        if prompt.tokens + _MINIMUM_ROOM > backend.context:
            more = backend.context < backend.trained_context
            raise PromptTooLongError(
                f"the conversation takes {prompt.tokens:,} tokens: with {_MINIMUM_ROOM} for an answer, more than the "
                f"context of {backend.name} holds ({backend.context:,})",
                hint=f"give it more with --ctx, up to {backend.trained_context:,}, or take another pair"
                if more
                else "shorten the question, begin a new session, or take a pair that holds more",
            )
    return prompts


def started(pair: Pair, loop: Loop, turn: Turn, messages: Sequence[Message], seed: int) -> Started:
    """Return the event that a question was taken, the last one of these messages."""
    names = {model: pair.backends[model].name for model in loop.lanes}
    return Started(
        question=turn.question,
        pair=pair.name,
        policy=loop.policy.name,
        seed=seed,
        small=names.get("small"),
        large=names.get("large"),
        thinks=loop.transcript.close is not None,
        prompt_tokens=turn.prompt_tokens,
        system=messages[0].content if messages[0].role == "system" else None,
        turn=turn.id,
    )


def without_last_question(messages: list[Message]) -> list[Message]:
    """Return a conversation without its last question and the answer to it; raises UsageError if there is none."""
    last = next((at for at in range(len(messages) - 1, -1, -1) if messages[at].role == "user"), None)
    if last is None:
        raise UsageError("nothing was asked yet")
    return messages[:last]


def not_loaded(policy: Policy, model: Model) -> UsageError:
    """Return the error that a policy needs a model that is not there."""
    return UsageError(f"the policy {policy.name!r} needs the {model} model, which is not loaded")
