"""`glimp sessions`: the conversations that `glimp chat` has saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from glimp_local.cli.completers import complete_session
from glimp_local.cli.help import Command, Group
from glimp_local.cli.notes import tell
from glimp_local.cli.terminal import write, write_json
from glimp_local.errors import UsageError
from glimp_local.records import conversations, exports
from glimp_local.records.saved import SavedSession, Unreadable
from glimp_local.text import one_line

_EXIT_CODES = """\b
Exit codes: 0 done, also with what can be restored of a damaged conversation; 2 no such conversation, or a file that
cannot be used.
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
    if said := conversations.in_words(_listed(as_json=as_json)):
        tell(f"{said}. To remove one: glimp sessions rm ID")


def _listed(*, as_json: bool) -> Iterator[SavedSession | Unreadable]:
    """Print a line of each conversation as it is read: all of them may be more than the memory holds."""
    found = None
    for found in conversations.scan():
        if as_json:
            write_json(exports.summary(found))
        else:
            write(exports.row(found) + "\n")
        yield found
    if found is None and not as_json:
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
    write(exports.as_markdown(conversations.find(id_, tell), thoughts=thoughts))


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
    session = conversations.find(id_, tell)
    text = (exports.as_markdown if kind == "markdown" else exports.as_json)(session, thoughts=thoughts)
    if output is None:
        if kind == "json":
            write_json(text.rstrip("\n").encode())
        else:
            write(text)
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
  glimp sessions rm 20260102-030405-7f3a --yes

{_EXIT_CODES}""",
)
@click.argument(
    "ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_session, help="Those to remove."
)
@click.option("--yes", is_flag=True, help="Do not ask; then only whole ids will do.")
def rm(ids: tuple[str, ...], *, yes: bool) -> None:
    """Remove conversations, and the caches kept for them, from the disk.

    One that cannot be restored has to be named in full, and with --yes each. Of a link, the link is removed and not the
    file behind it.
    """
    chosen = [conversations.find_to_remove(id_, in_full=yes) for id_ in ids]
    for found in {found.id: found for found in chosen}.values():
        what = found.title if isinstance(found, SavedSession) else f"cannot be restored: {found.damage}"
        id_ = one_line(exports.spelled(found.id))
        if yes or click.confirm(f"remove {id_} ({one_line(what)})?"):
            conversations.remove(found)
            click.echo(f"removed {id_}", err=True)
        else:
            click.echo(f"kept {id_}", err=True)
