"""Everything the chat can be asked to do, once: the palette lists it by title, the message box takes it by `/name`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from glimp_local import units
from glimp_local.errors import GlimpError, UsageError
from glimp_local.models.catalogue import load_catalogue
from glimp_local.routing import MODELS, PolicyName
from glimp_local.settings import RunSettings
from glimp_local.tui import attachments
from glimp_local.tui.completions import Completion

if TYPE_CHECKING:
    from glimp_local.session.session import Session
    from glimp_local.tui.app import ChatApp


@dataclass(frozen=True)
class Command:
    """Something to do. `run` gets what stands behind the name."""

    title: str
    help: str
    run: Callable[[str], Awaitable[None] | None]
    name: str | None = None
    """What is typed behind a slash."""
    argument: str = ""
    """What stands behind the name, in brackets if it may be left out; empty if nothing may."""


def commands(app: ChatApp) -> Iterator[Command]:
    """Yield all, those that are used most first."""
    yield _plain("Start a new conversation", "This one stays saved", app.action_new, "new")
    yield _plain("Open a conversation", "Find, rename or delete saved ones", app.action_conversations, "open")
    yield _plain("Continue, or ask again", "A stopped turn, or the last question", app.action_go_on, "again")
    yield _plain("Edit the question", "The chosen one, or the last, in other words", app.action_edit, "edit")
    redo = "By the other model, and continue from there"
    yield _plain("Write the chosen step again", redo, app.conversation.action_redo, "redo")
    versions = "Of the chosen turn, or the last: what a redo or an edit replaced is kept"
    yield _plain("Go to the previous version", versions, partial(app.action_version, -1))
    yield _plain("Go to the next version", versions, partial(app.action_version, 1))
    yield _plain("Write the answer now", "End the thought", app.action_answer_now, "answer")
    yield _plain("Find in the conversation", "Search what is on the screen", app.action_find, "find")
    yield _plain("Rename the conversation", "Give it another title", app.action_rename, "rename")
    yield _plain("Export the conversation", "To a file: Markdown, JSON, HTML", app.action_export, "export")
    yield _plain("Copy the conversation", "As Markdown", app.action_copy_all, "copy")
    yield Command("Choose a pair of models", "Continue with other models", app.choose_pair, "pair", "[NAME]")
    yield _plain("Change the settings", "Temperature, system message, budgets, policy", app.action_settings, "settings")
    yield Command("Set the system message", "Read before the first question", app.set_system, "system", "[TEXT]")
    yield Command("Attach a file", "Its text goes into the question", app.attach, "file", "PATH")
    yield _plain("Show or hide the side panel", "Figures and reasons", app.action_toggle_panel, "panel")
    yield _plain("Fold or unfold the thoughts", "All of them", app.action_fold_thoughts, "thoughts")
    yield Command("Set the share of the large model", "Of the steps, from 0 to 1", app.set_share, "share", "0.2")
    yield Command(
        "Set the threshold", "In nats; above it the large model writes", app.set_threshold, "threshold", "0.3"
    )
    yield _plain("Give the small model more steps", "Moves the threshold, or the share", lambda: app.action_move(1))
    yield _plain("Give the large model more steps", "Moves the threshold, or the share", lambda: app.action_move(-1))
    for model in MODELS:
        yield _plain(f"Have the {model} model write the next step", "Once", partial(app.action_force, model))
    for name, what in _policies(app.session, app.settings) if app.session and app.settings else ():
        yield _plain(f"Use the policy {name}", what, partial(app.action_policy, name))
    yield _plain("Change the theme", "Colours", app.action_change_theme, "theme")
    yield _plain("Help: keys and terms", "All keys, and what nats, entropy, share mean", app.action_help, "help")
    yield _plain("Quit", "Exit; the conversation is saved", app.action_quit, "quit")


def _plain(title: str, help_: str, run: Callable[[], Awaitable[None] | None], name: str | None = None) -> Command:
    return Command(title, help_, lambda _: run(), name)


def typed(app: ChatApp, message: str) -> tuple[Command, str]:
    """Return the command that a message beginning with a slash names, and what stands behind it; raises UsageError."""
    name, _, argument = message.removeprefix("/").partition(" ")
    named = {command.name: command for command in commands(app) if command.name is not None}
    command = named.get(name.lower())
    if command is None:
        meant = [known for known in named if known.startswith(name.lower())]
        like = f"did you mean /{meant[0]}? " if len(meant) == 1 else ""
        hint = f"{like}/help shows all; with a blank before it the models are asked"
        raise UsageError(f"there is no command /{name}", hint=hint)
    if argument.strip() and not command.argument:
        raise UsageError(f"/{name} takes nothing behind it", hint="with a blank before it the models are asked")
    return command, argument.strip()


def completions(app: ChatApp, word: str) -> Iterator[Completion]:
    """Yield what may be put in the place of a word that begins with a slash or an @."""
    if word.startswith("@"):
        yield from (Completion(attachments.mention(path)) for path in attachments.completions(word[1:].strip('"')))
        return
    name, blank, beginning = word.removeprefix("/").partition(" ")
    if not blank:
        for command in commands(app):
            if command.name is not None and command.name.startswith(name):
                text = f"/{command.name}{' ' if command.argument else ''}"
                yield Completion(text, f"{command.argument} {command.title}".strip())
    elif name == "pair":
        try:
            pairs = load_catalogue(app.request.models_file).pairs
        except GlimpError:  # the command itself says why
            return
        yield from (
            Completion(f"/pair {pair}", pairs[pair].description) for pair in pairs if pair.startswith(beginning)
        )
    elif name == "file":
        yield from (Completion(f"/file {path}") for path in attachments.completions(beginning))


def _policies(session: Session, settings: RunSettings) -> Iterator[tuple[PolicyName, str]]:
    """Yield the policies that can be switched to, and what each does."""
    yield "threshold", f"The large model above {settings.threshold} nats"
    yield "share", f"The large model for {units.share(settings.share)} of the steps"
    for model in MODELS:
        yield model, f"The {model} model alone"
    if session.drafting_obstacle is None:
        yield "speculative", "The large model writes every step, the small one drafts for it"
