"""`glimp sessions`: the conversations that `glimp chat` has saved."""

from __future__ import annotations

from pathlib import Path

import click

from glimp_local import caches, saved
from glimp_local.cli.completers import complete_session
from glimp_local.cli.help import Command, Group
from glimp_local.errors import UsageError

_EXIT_CODES = """\b
Exit codes: 0 done; 2 no such conversation, or a file that cannot be used.
"""


@click.group(
    cls=Group,
    epilog="""\b
Where ID is wanted, the beginning or the end of one is enough; `glimp chat --resume ID` goes on with a conversation.
They are files in the folder that `glimp config path data` prints.
""",
)
def sessions() -> None:
    """List, show, export and remove saved conversations."""


@sessions.command(
    "list",
    cls=Command,
    epilog=f"""\b
Examples:
  glimp sessions list
  glimp sessions list --json | jq -r .id

{_EXIT_CODES}""",
)
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


@sessions.command(
    cls=Command,
    epilog=f"""\b
Examples:
  glimp sessions show
  glimp sessions show 20 --thoughts | less

{_EXIT_CODES}""",
)
@click.argument("id_", metavar="[ID]", required=False, shell_complete=complete_session, help="The last one without it.")
@click.option("--thoughts", is_flag=True, help="With the thoughts.")
def show(id_: str | None, *, thoughts: bool) -> None:
    """Print a conversation (the last one without ID); the beginning of an id is enough."""
    click.echo(saved.as_markdown(saved.find(id_), thoughts=thoughts), nl=False)


@sessions.command(
    cls=Command,
    epilog=f"""\b
Examples:
  glimp sessions export --output conversation.md
  glimp sessions export 20 --format json --thoughts

{_EXIT_CODES}""",
)
@click.argument("id_", metavar="[ID]", required=False, shell_complete=complete_session, help="The last one without it.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["markdown", "json"]),
    default="markdown",
    show_default=True,
    help="What is written.",
)
@click.option("--thoughts", is_flag=True, help="With the thoughts.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="A new file, instead of stdout.")
def export(id_: str | None, *, kind: str, thoughts: bool, output: Path | None) -> None:
    """Write a conversation (the last one without ID) as Markdown or JSON."""
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


@sessions.command(
    cls=Command,
    epilog=f"""\b
Examples:
  glimp sessions rm 20
  glimp sessions rm 20 7f --yes

{_EXIT_CODES}""",
)
@click.argument(
    "ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_session, help="Those to remove."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(ids: tuple[str, ...], *, yes: bool) -> None:
    """Remove conversations, and the caches kept for them, from the disk."""
    for session in {found.id: found for found in map(saved.find, ids)}.values():
        if yes or click.confirm(f"remove {session.id} ({session.title})?"):
            saved.remove(session)
            click.echo(f"removed {session.id}", err=True)
        else:
            click.echo(f"kept {session.id}", err=True)
