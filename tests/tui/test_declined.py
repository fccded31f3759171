"""The chat declines what the built-in pair is not for: what it says, who may insist, and what comes after it."""

from __future__ import annotations

from glimp_local.engines import domain
from glimp_local.records import conversations
from tests.support.chatting import Chat, chatting, played
from tests.support.sessions import exchanges_of

BUILTIN = {"name": "builtin", "max_thought": 60, "max_answer": 20}
OUTSIDE = "Who are you?"


async def decline(chat: Chat, question: str = OUTSIDE) -> None:
    notices, box = len(chat.notices), chat.app.composer
    box.replace(question, *box.selection)
    await chat.press("enter")
    await chat.until(lambda: not chat.app.busy and len(chat.notices) > notices)


@played
async def test_a_question_outside_is_declined_in_the_conversation() -> None:
    async with chatting(pair=BUILTIN) as chat:
        await decline(chat)
        (notice,) = chat.notices
        assert notice.startswith("this question is not for the pair 'builtin': it has no number")
        assert f'It can do counting stories and small sums, like "{domain.EXAMPLE}", and nothing else.' in notice
        assert notice.endswith("Enter asks it all the same; /pair has pairs for anything.")
        assert OUTSIDE in chat.screen
        assert chat.turns == []


@played
async def test_a_declined_question_stands_in_the_box_and_another_one_replaces_it() -> None:
    async with chatting(pair=BUILTIN) as chat:
        await decline(chat)
        assert chat.app.composer.text == OUTSIDE
        await chat.pilot.press(*"5 + 3")
        assert chat.app.composer.text == "5 + 3"


@played
async def test_enter_asks_a_declined_question_all_the_same() -> None:
    async with chatting(pair=BUILTIN) as chat:
        turn = await chat.insist(OUTSIDE)
        assert turn.question == OUTSIDE
        assert turn.run.steps
        await chat.press("tab", "g")  # once more, and nobody is asked whether it is meant
        await chat.until(lambda: not chat.app.busy)
        assert [turn.question for turn in chat.turns] == [OUTSIDE]


@played
async def test_a_question_like_a_declined_one_is_declined_too() -> None:
    async with chatting(pair=BUILTIN) as chat:
        await decline(chat)
        await decline(chat, "Who am I?")
        assert chat.turns == []


@played
async def test_anyway_declines_nothing() -> None:
    async with chatting(pair=BUILTIN, anyway=True) as chat:
        turn = await chat.ask(OUTSIDE)
        assert turn.run.notices[0].startswith("this question is not for the pair 'builtin'")
        assert turn.run.steps


@played
async def test_after_a_declined_question_the_next_one_is_answered_as_the_first_would_be() -> None:
    settings = {"name": "builtin"}
    async with chatting(pair=settings) as chat:
        first = await chat.ask(domain.EXAMPLE)
    async with chatting(pair=settings) as chat:
        await decline(chat)
        chat.app.composer.clear()
        turn = await chat.ask(domain.EXAMPLE)
        assert turn.text == first.text
        assert [step.text for step in turn.run.steps] == [step.text for step in first.run.steps]
        assert chat.app.session is not None
        assert exchanges_of(chat.app.session) == [(domain.EXAMPLE, turn.text)]
    assert [turn.question for turn in conversations.find().turns] == [domain.EXAMPLE]


@played
async def test_a_chat_of_declined_questions_alone_is_not_saved() -> None:
    async with chatting(pair=BUILTIN) as chat:
        await decline(chat)
        assert not chat.app.saved.path.exists()


@played
async def test_a_declined_new_wording_leaves_the_question_it_was_to_replace() -> None:
    async with chatting(pair={"name": "builtin"}) as chat:
        await chat.ask(domain.EXAMPLE)
        await chat.press("tab", "e")
        chat.app.composer.select_all()
        await decline(chat)
        assert [turn.question for turn in chat.turns] == [domain.EXAMPLE]
        assert chat.app.composer.border_title
