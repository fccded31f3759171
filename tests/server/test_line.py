"""Places and the line before them: who comes first is served first, and who leaves takes no place along."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from glimp_local.server.line import BusyError, Line, Places
from glimp_local.server.metrics import Metrics


async def rest() -> None:
    """Let all tasks go as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_requests_get_places_in_the_order_in_which_they_came() -> None:
    async def run() -> None:
        places, served = Places(), list[int]()

        async def ask(number: int) -> None:
            await places.take()
            served.append(number)

        tasks = [asyncio.create_task(ask(number)) for number in range(5)]
        await rest()
        assert served == [0]
        places.set_most(3)
        await rest()
        assert served == [0, 1, 2]
        assert places.is_full
        places.set_most(1)
        places.give_back()
        await rest()
        assert served == [0, 1, 2], "two are more than there are places now"
        for _ in range(2):
            places.give_back()
            await rest()
        assert served == [0, 1, 2, 3]
        places.give_back()
        await asyncio.gather(*tasks)
        assert served == [0, 1, 2, 3, 4]
        places.give_back()
        assert not places.is_full

    asyncio.run(run())


@pytest.mark.parametrize("is_given_one", [False, True])
def test_a_request_that_leaves_does_not_keep_a_place(is_given_one: bool) -> None:
    async def run() -> None:
        places = Places()
        await places.take()
        leaving, patient = (asyncio.create_task(places.take()) for _ in range(2))
        await rest()
        if is_given_one:
            places.give_back()  # and cancelled before it has noticed
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving
        if not is_given_one:
            assert not patient.done()
            places.give_back()
        await asyncio.wait_for(patient, 5)
        assert places.is_full
        places.give_back()
        assert not places.is_full

    asyncio.run(run())


def test_a_line_is_full_only_for_who_would_have_to_wait() -> None:
    async def run() -> None:
        line, free = Line(most_waiting=1, metrics=Metrics()), Places()
        async with line.turn(line.here):
            line.check(line.here)
            waiting = asyncio.create_task(line.turn(line.here).__aenter__())
            await rest()
            assert (line.running, line.waiting) == (1, 1)
            with pytest.raises(BusyError):
                line.check(line.here)
            line.check(free)
            async with line.turn(free):
                assert (line.running, line.waiting) == (2, 1)
        await waiting
        assert (line.running, line.waiting) == (1, 0)

    asyncio.run(run())
