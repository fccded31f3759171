"""What the command palette offers besides Textual's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.app import SystemCommand

from glimp_local import units
from glimp_local.routing import MODELS, Alone, Policy, Share, Speculative, Threshold

if TYPE_CHECKING:
    from glimp_local.session.session import Session
    from glimp_local.tui.app import ChatApp


def commands(app: ChatApp) -> Iterator[SystemCommand]:
    """Give all: what the keys do, the policies, the pairs."""
    yield SystemCommand("Thoughts", "Fold or unfold all thoughts", app.action_fold_thoughts)
    yield SystemCommand("Panel", "Show or hide the side panel", app.action_toggle_panel)
    yield SystemCommand("Answer now", "End the thought and write the answer", app.action_answer_now)
    yield SystemCommand("Go on / again", "Go on, or ask the last question again", app.action_go_on)
    yield SystemCommand("New conversation", "Begin another; this one stays saved", app.action_new)
    yield SystemCommand("Edit", "Ask the chosen question, or the last one, in other words", app.action_edit)
    what = "of the chosen turn, or the last one: what a redo or an edit replaced is kept"
    yield SystemCommand("Go to the previous version", what, lambda: app.action_version(-1))
    yield SystemCommand("Go to the next version", what, lambda: app.action_version(1))
    yield SystemCommand("Copy all", "The conversation to the clipboard", app.action_copy_all)
    yield SystemCommand("Threshold up", "More steps for the small model", lambda: app.action_move(1))
    yield SystemCommand("Threshold down", "More steps for the large model", lambda: app.action_move(-1))
    for model in MODELS:
        yield SystemCommand(f"Next step: {model}", "Whatever the policy says", lambda m=model: app.action_force(m))
    for policy, what in _policies(app.session) if app.session else ():
        yield SystemCommand(f"Policy: {policy.name}", what, lambda p=policy: app.action_policy(p))
    yield SystemCommand("Pair", "Go on with another pair of models", app.action_choose_pair)


def _policies(session: Session) -> Iterator[tuple[Policy, str]]:
    """Give the policies that can be switched to."""
    pair = session.pair
    yield Threshold(pair.config.threshold), f"The large model above {pair.config.threshold} nats"
    history = pair.entropies()
    seen = history.read() if history else []
    share = Share(pair.config.share, threshold_nats=pair.config.threshold, history=seen)
    yield share, f"The large model for {units.share(pair.config.share)} of the steps"
    for model in MODELS:
        yield Alone(model), f"The {model} model alone"
    if session.drafting_obstacle is None:
        yield Speculative(), "The large model writes every step, the small one drafts for it"
