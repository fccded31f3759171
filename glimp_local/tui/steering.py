"""What the keys that steer do to a session, and what is shown about it."""

from __future__ import annotations

import math
from typing import Literal

from msgspec.structs import replace

from glimp_local.errors import UsageError
from glimp_local.routing import Model, Share, Threshold
from glimp_local.session.session import Session
from glimp_local.settings import RunSettings

_MOVE = 0.05
"""Of the threshold, in nats, or of the share: what one press of a key changes."""


def move(session: Session, way: int) -> str | None:
    """Move the threshold or the share so that the small (1) or the large model (-1) writes more.

    Return a message if the policy has neither.
    """
    match session.policy:
        case Threshold(threshold_nats=nats):
            session.policy = Threshold(max(0.0, round(nats + way * _MOVE, 2)))
        case Share() as policy:
            policy.share = min(1.0, max(0.0, round(policy.share - way * _MOVE, 2)))
        case policy:
            return f"The policy {policy.name!r} has nothing to move."
    return None


def use(session: Session, settings: RunSettings) -> None:
    """Let the policy of some settings decide from the next step on; raises UsageError if its model is not loaded."""
    session.policy = session.pair.policy(settings, session.seed)


def share(settings: RunSettings, typed: str) -> RunSettings:
    """Return settings by which the large model writes a share of the steps; raises UsageError."""
    return replace(settings, policy="share", share=_number(typed, "/share", most=1.0))


def threshold(settings: RunSettings, typed: str) -> RunSettings:
    """Return settings by which the large model writes above an entropy; raises UsageError."""
    return replace(settings, policy="threshold", threshold=_number(typed, "/threshold"))


def _number(text: str, command: str, *, most: float = math.inf) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most or math.isinf(value):
        what = "a number from 0 to 1" if most == 1 else "a number of nats, 0 or more"
        raise UsageError(f"{command} takes {what}, not {text!r}", hint=f"for example: {command} 0.3")
    return value


def force(session: Session, model: Model, *, answering: bool) -> tuple[str, Literal["information", "warning"]]:
    """Let a model write the next step, whatever the policy says; return a message, and how to show it."""
    if answering and session.pair.config.answer_by != "route":
        return "The thought is over. When the answer is there, r has the other model write it.", "information"
    try:
        session.force(model)
    except UsageError as error:
        return str(error), "warning"
    return f"The {model} model writes the next step.", "information"
