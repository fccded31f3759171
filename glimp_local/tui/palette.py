"""The palette (Ctrl+P): all commands, those that are used most first, found by their titles and by what they do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from glimp_local.tui.commands import Command, commands

if TYPE_CHECKING:
    from glimp_local.tui.app import ChatApp

_IN_HELP = 0.01
"""How much a word in what a command does counts; a title that fits counts more."""


class Palette(Provider):
    """Offers the commands of the chat."""

    @property
    def _chat(self) -> ChatApp:
        return cast("ChatApp", self.app)

    def _all(self) -> Iterator[tuple[Command, Callable[[], Awaitable[None]]]]:
        for command in commands(self._chat):
            yield command, partial(self._chat.run_command, command)

    async def discover(self) -> Hits:
        """Offer all, in their order."""
        for command, run in self._all():
            yield DiscoveryHit(Content(command.title), run, text=command.title, help=command.help)

    async def search(self, query: str) -> Hits:
        """Offer those whose title fits what is typed, or whose help has it."""
        matcher = self.matcher(query)
        for command, run in self._all():
            score = matcher.match(command.title)
            if score > 0:
                yield Hit(score, matcher.highlight(command.title), run, text=command.title, help=command.help)
            elif query.casefold() in command.help.casefold():
                yield Hit(_IN_HELP, Content(command.title), run, text=command.title, help=command.help)
