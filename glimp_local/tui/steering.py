"""What the keys that steer do to a session, and what is shown about it."""

from __future__ import annotations

import math
from typing import Literal

from glimp_local.errors import UsageError
from glimp_local.routing import Model, Policy, Share, Threshold
from glimp_local.session.session import Session

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


def use(session: Session, policy: Policy) -> str | None:
    """Let another policy decide from the next step on; return what is wrong if it cannot."""
    try:
        session.policy = policy
    except UsageError as error:
        return str(error)
    return None


def use_share(session: Session, share: str) -> None:
    """Let the large model write a share of the steps from the next one on; raises UsageError."""
    value = _number(share, "/share", most=1.0)
    config, history = session.pair.config, session.pair.entropies()
    seen = history.read() if history else []
    session.policy = Share(value, threshold_nats=config.threshold, history=seen)


def use_threshold(session: Session, nats: str) -> None:
    """Let the large model write above an entropy from the next step on; raises UsageError."""
    session.policy = Threshold(_number(nats, "/threshold"))


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
