"""`glimp sessions`: the conversations that `glimp chat` has saved."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click

from glimp_local.cli.completers import complete_session
from glimp_local.cli.help import Command, Group
from glimp_local.cli.notes import tell
from glimp_local.cli.terminal import is_terminal, write, write_json
from glimp_local.cli.texts import read_typed
from glimp_local.errors import UsageError
from glimp_local.records import conversations, exports, session_log
from glimp_local.records.listing import Entry
from glimp_local.records.saved import SavedSession, Unreadable, short
from glimp_local.text import one_line
from glimp_local.tui.maths import readable

_EXIT_CODES = """\b
Exit codes: 0 done, also with what can be restored of a damaged conversation; 2 no such conversation, or a file that
cannot be used.
"""


@click.group(
    cls=Group,
    epilog="""\b
Any part of an ID that no other one has is enough; `glimp chat --resume ID` continues a conversation.
They are files in the folder that `glimp config path data` prints.
""",
)
def sessions() -> None:
    """List, show, export, rename and remove saved conversations."""


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
    """List all, the last one first: id, age, turns, pair, size on the disk (with kept caches), title.

    A terminal gets as many of these as it has room for.
    """
    if said := conversations.in_words(_listed(as_json=as_json)):
        tell(f"{said}. To remove one: glimp sessions rm ID")


def _listed(*, as_json: bool) -> Iterator[SavedSession | Unreadable]:
    """Print a line of each conversation as it is read: all of them may be more than the memory holds."""
    rows = None
    for found in conversations.scan():
        if as_json:
            write_json(exports.summary(found))
        else:
            if rows is None:
                from glimp_local.cli.session_rows import Rows  # noqa: PLC0415 - completing a name does without rich

                rows = Rows(conversations.ids(), on_terminal=is_terminal())
                write(rows.heading() + "\n")
            write(rows.row(Entry.of(found)) + "\n")
        yield found
    if rows is None and not as_json:
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
    """Print a conversation (the last one without ID) to be read: formulas, a boxed answer among them, as text."""
    session = conversations.find(id_, tell)
    write(exports.as_markdown(session, thoughts=thoughts, shown=partial(readable, markdown=False)))


@sessions.command(
    cls=Command,
    epilog=f"""\b
Examples:
  glimp sessions export --output conversation.md
  glimp sessions export 20 --format json --thoughts
  glimp sessions export 7f3a --format html -o conversation.html

{_EXIT_CODES}""",
)
@click.argument("id_", metavar="[ID]", required=False, shell_complete=complete_session, help="The last one without it.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(list(exports.SUFFIXES)),
    default="markdown",
    show_default=True,
    help="What is written; html is the page of `glimp trace --html`.",
)
@click.option("--thoughts", is_flag=True, help="With the thoughts; a page has them in any case.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="A new file, instead of stdout.")
def export(id_: str | None, *, kind: exports.Format, thoughts: bool, output: Path | None) -> None:
    """Write a conversation (the last one without ID) as Markdown, as JSON or as a page for a browser."""
    text = exports.export(conversations.find(id_, tell), kind, thoughts=thoughts)
    if output is not None:
        exports.write_new(output, text)
        tell(f"written: {output}")
    elif kind == "json":
        write_json(text.rstrip("\n").encode())
    else:
        write(text)


@sessions.command(
    cls=Command,
    epilog=f"""\b
Examples:
  glimp sessions rename 20 "Marbles and apples"
  glimp sessions rename 7f3a ""

{_EXIT_CODES}""",
)
@click.argument("id_", metavar="ID", shell_complete=complete_session, help="The one to rename.")
@click.argument("title", metavar="TITLE", help="Its new title; an empty one is its first question again.")
def rename(id_: str, title: str) -> None:
    """Give a conversation another title than its first question."""
    if title.strip():
        title = read_typed(title, "the title")
    session = conversations.find(id_, tell)
    try:
        session_log.rename(session, title)
    except OSError as error:
        raise UsageError(f"{session.path} cannot be written: {error.strerror or error}") from error
    tell(f"{exports.spelled(session.id)} is called {conversations.find(session.id).title or '(no title)'!r}")


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
        what = short(found.title) if isinstance(found, SavedSession) else f"cannot be restored: {found.damage}"
        id_ = one_line(exports.spelled(found.id))
        if yes or click.confirm(f"remove {id_} ({one_line(what)})?"):
            conversations.remove(found.path)
            click.echo(f"removed {id_}", err=True)
        else:
            click.echo(f"kept {id_}", err=True)
