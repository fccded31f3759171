"""The conversations of one engine: the one it holds, and others on a shelf, for when they continue.

When a prompt begins that would cut away much of what is held, that is copied onto the shelf first; then what spares
most of the prompt's reading is restored from there, if that is more than what is held does. The engine continues from
it like from anything it holds. What cannot be copied or restored is read again.
"""

from __future__ import annotations

from collections.abc import Sequence

from glimp_local.engines.llama import binding
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.shelf import Kept, Shelf, Tokens, common_length, reach, tokens_of

_FEWEST = 32
"""Fewer tokens are not kept, and nothing is restored for their sake. Reading them takes one batch. It would still take
longer than copying them to and fro (32 tokens of a 1.5B model on 2 cores: 650 ms against 0.9), but such little things
are many, and one template's beginning is in all of them."""


class Conversations:
    """Those of an engine, of which nothing else uses the shelf's part."""

    def __init__(self, engine: Engine, shelf: Shelf) -> None:
        self._engine = engine
        self._shelf = shelf
        self._lasting: int | None = None
        self._goes_on = False

    def begin(self, ids: Sequence[int], *, lasting: int | None, goes_on: bool) -> None:
        """Prepare the engine, which the caller has claimed, for a text that begins with a prompt. Computes nothing.

        Of what stands there at the end of the turn, the first `lasting` tokens will begin the next prompt of this
        conversation; None is all of it. `goes_on` says that it is more than a single question.
        """
        engine, text, held = self._engine, tokens_of(ids), tokens_of(self._engine.ids)
        common = common_length(held, text)
        worth = len(held) if self._lasting is None else min(self._lasting, len(held))
        best, spared = self._shelf.best(engine, text)
        if worth - common >= _FEWEST:
            self._put_aside(worth, beside=best)
        self._lasting, self._goes_on = lasting, goes_on
        left = reach(min(common, len(engine.ids)), len(engine.ids), engine.stops)
        if best is not None and spared >= left + _FEWEST:
            self._take_up(best, text)

    def _put_aside(self, worth: int, beside: Kept | None) -> None:
        """Keep the first `worth` tokens of what is held, or as few below as the architecture allows."""
        engine, shelf = self._engine, self._shelf
        if engine.rewind(worth) < _FEWEST:
            return
        held, stops = tokens_of(engine.ids), engine.stops
        same, spared = shelf.best(engine, held)
        if same is not None and spared == len(held):
            same.goes_on |= self._goes_on
            shelf.use(same)
            return
        for kept in shelf.of(engine):
            if kept is not beside and _covers(held, stops, kept):
                shelf.remove(kept)
        size = engine.copy_bytes + held.nbytes
        if not shelf.make_room(size, goes_on=self._goes_on, beside=beside):
            return
        content = engine.copy_state()
        if content is None:
            binding.log.warning("%s: what was read of a conversation could not be copied", engine.name)
            return
        shelf.put(Kept(engine, held, content, size, stops, self._goes_on))

    def _take_up(self, kept: Kept, text: Tokens) -> None:
        engine, shelf = self._engine, self._shelf
        is_held = engine.put_state(kept.ids.tolist(), kept.content)
        if not is_held:
            binding.log.warning("%s: what was kept of a conversation could not be restored", engine.name)
        is_over = len(kept.ids) - common_length(kept.ids, text) < _FEWEST  # it is put there again, longer
        if is_over or not is_held:
            shelf.remove(kept)
        else:
            shelf.use(kept)

    def forget(self) -> None:
        """Let go of what is on the shelf."""
        self._shelf.forget(self._engine)


def _covers(held: Tokens, stops: Sequence[int] | None, kept: Kept) -> bool:
    """Return whether what is held begins with something on the shelf, and can be cut to that."""
    return common_length(held, kept.ids) == len(kept.ids) == reach(len(kept.ids), len(held), stops)
