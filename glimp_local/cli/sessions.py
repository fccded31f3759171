"""`glimp sessions`: the conversations that `glimp chat` has saved."""

from __future__ import annotations

from pathlib import Path

import click

from glimp_local import caches, saved
from glimp_local.errors import UsageError


@click.group()
def sessions() -> None:
    """List, show, export and remove saved conversations."""


@sessions.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(*, as_json: bool) -> None:
    """List all, the last one first: id, pair, turns, size of the kept caches, first question."""
    found = list(saved.saved_sessions())
    for session in found:
        if as_json:
            click.echo(saved.summary(session))
        else:
            kept = caches.kept_bytes(session.path)
            size = caches.megabytes(kept) if kept else ""
            click.echo(f"{session.id}  {session.header.pair:20}  {len(session.turns):3}  {size:>8}  {session.title}")
    if not found and not as_json:
        click.echo("no conversation was saved yet; begin one with: glimp chat", err=True)


@sessions.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--thoughts", is_flag=True, help="With the thoughts.")
def show(id_: str | None, *, thoughts: bool) -> None:
    """Print a conversation (the last one without ID); the beginning of an id is enough."""
    click.echo(saved.as_markdown(saved.find(id_), thoughts=thoughts), nl=False)


@sessions.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--format", "kind", type=click.Choice(["markdown", "json"]), default="markdown", show_default=True)
@click.option("--thoughts", is_flag=True, help="With the thoughts.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="A new file, instead of stdout.")
def export(id_: str | None, *, kind: str, thoughts: bool, output: Path | None) -> None:
    """Write a conversation as Markdown or JSON."""
    session = saved.find(id_)
    text = (
        saved.as_markdown(session, thoughts=thoughts)
        if kind == "markdown"
        else saved.as_json(session, thoughts=thoughts)
    )
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{output} exists", hint="choose another name, or remove it first") from error


@sessions.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(ids: tuple[str, ...], *, yes: bool) -> None:
    """Remove conversations from the disk."""
    for session in {found.id: found for found in map(saved.find, ids)}.values():
        if yes or click.confirm(f"remove {session.id} ({session.title})?"):
            saved.remove(session)
            click.echo(f"removed {session.id}", err=True)
