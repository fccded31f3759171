"""The caches that a chat keeps when it leaves a conversation, and takes up again."""

from __future__ import annotations

from pathlib import Path

from glimp_local.records import caches, conversations
from tests.support.chatting import chatting, played
from tests.support.sessions import (
    engines_in,
)


@played
async def test_a_chat_keeps_its_caches_when_it_is_left_and_takes_them_up_again(small: Path, large: Path) -> None:
    async with chatting(small, large, keep_caches_gb=1) as chat:
        await chat.ask("first")
        await chat.ask("second")
        assert caches.kept_bytes(conversations.find().path) == 0
    kept = caches.kept_bytes(conversations.find().path)
    assert kept > 0
    async with chatting(small, large, going_on=conversations.find()) as chat:
        await chat.until(lambda: chat.notices)
        assert chat.notices[0].startswith("Read from the disk: S ")
        assert chat.app.session is not None
        engines = engines_in(chat.app.session.pair).values()
        assert all(engine.ids and not engine.fed for engine in engines)
        await chat.ask("third")
        assert all(engine.fed < len(engine.ids) / 2 for engine in engines)
    assert caches.kept_bytes(conversations.find().path) == kept  # it was not asked to keep any


@played
async def test_by_itself_a_chat_keeps_no_caches(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.ask("first")
    assert not list(conversations.folder().glob("*.caches"))


@played
async def test_caches_that_cannot_be_taken_up_are_said_and_the_conversation_is_read_anew(
    small: Path, large: Path
) -> None:
    async with chatting(small, large, keep_caches_gb=1) as chat:
        await chat.ask("first")
    found = conversations.find()
    for file in found.path.with_suffix(".caches").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    async with chatting(small, large, going_on=found, keep_caches_gb=1e-9) as chat:
        await chat.until(lambda: len(chat.notices) == 2)
        for model, notice in zip(("large", "small"), chat.notices, strict=True):
            assert notice.startswith(f"the {model} model has to read the conversation again: ")
            assert notice.endswith(".state is damaged")
        assert (await chat.ask("second")).text == "Answer \\boxed{3}"
        chat.app.action_new()
        await chat.until(lambda: len(chat.turns) == 0)
    assert len(conversations.find().turns) == 2


@played
async def test_caches_are_kept_where_another_conversation_or_another_pair_comes(
    small: Path, large: Path, endless: Path
) -> None:
    async with chatting(small, large, keep_caches_gb=1) as chat:
        await chat.ask("first")
        chat.app.action_new()
        await chat.until(lambda: not chat.turns)
        first = conversations.find()
        assert caches.kept_bytes(first.path)
        await chat.ask("second")
        second = conversations.find()
        assert second.id != first.id
        await chat.switch({"small": small, "large": endless})
        # The small model is the same: it has nothing to read again.
        assert caches.kept_bytes(second.path)
        await chat.until(lambda: chat.notices)
        assert "disk: S " in chat.notices[-1]
        assert "L " not in chat.notices[-1]
