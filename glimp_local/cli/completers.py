"""What the Tab key offers for the values of flags and arguments: names of pairs, ids of conversations.

A shell asks for this at every Tab: it is quick (no llama.cpp, no hub library), and silent where something is broken.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from glimp_local.errors import GlimpError
from glimp_local.text import one_line

PROBLEMS = ("builtin", "gsm8k", "math500", "aime24", "aime25", "gpqa-diamond")
"""Problems of a bench that have a name."""

Offers = list[CompletionItem[str]]


def complete_pair(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offers:  # noqa: ARG001 - click's signature
    """Offer the names of the pairs; none where the models.toml cannot be used."""
    from glimp_local.models.catalogue import load_catalogue  # noqa: PLC0415 - only a shell asks for it

    try:
        pairs = load_catalogue(ctx.params.get("models_file")).pairs
    except GlimpError:
        return []
    found = {name: one_line(pair.description) for name, pair in pairs.items() if name.startswith(incomplete)}
    return [CompletionItem(name, help=description) for name, description in found.items()]


def complete_session(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offers:  # noqa: ARG001 - click's signature
    """Offer the ids of the saved conversations, the last one first."""
    from glimp_local.records import conversations  # noqa: PLC0415 - only a shell asks for it

    try:
        ids = conversations.ids()
    except OSError:
        return []
    # What a shell would obey, or cannot spell, is no id of ours.
    return [CompletionItem(id_) for id_ in ids if id_.startswith(incomplete) and id_.isprintable()]


def complete_session_or_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offers:
    """Offer the ids of saved conversations, and files where none begins so."""
    return complete_session(ctx, param, incomplete) or [CompletionItem(incomplete, type="file")]


def complete_pair_or_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offers:
    """Offer the names of the pairs, and files where none begins so."""
    return complete_pair(ctx, param, incomplete) or [CompletionItem(incomplete, type="file")]


def complete_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offers:  # noqa: ARG001 - click's signature
    """Offer files."""
    return [CompletionItem(incomplete, type="file")]


def complete_text_or_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offers:  # noqa: ARG001 - click's signature
    """Offer files behind an @; nothing for a text.

    They are listed here, for shells that take the @ as a part of the word: no file is called that.
    """
    if not incomplete.startswith("@") or incomplete.startswith("@@"):
        return []
    folder, slash, begun = incomplete[1:].rpartition("/")
    try:
        found = sorted(Path(f"{folder}{slash}" or ".").expanduser().iterdir())
    except (OSError, ValueError, RuntimeError):
        return []
    names = [f"{path.name}/" if path.is_dir() else path.name for path in found if path.name.startswith(begun)]
    shown = [name for name in names if name.isprintable() and name.startswith(".") == begun.startswith(".")]
    return [CompletionItem(f"@{folder}{slash}{name}") for name in shown]


def complete_problems(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offers:  # noqa: ARG001 - click's signature
    """Offer the problems that have a name, and files where none begins so."""
    named = [CompletionItem(name) for name in PROBLEMS if name.startswith(incomplete)]
    return named or [CompletionItem(incomplete, type="file")]
