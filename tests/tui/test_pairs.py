"""The choice of a pair within the chat: what is said of each, and the download of one that is not here."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import OptionList, Static

from glimp_local.load import LoadRequest
from glimp_local.machine.forecast import Forecast, Forecaster, PairFiles, pair_files
from glimp_local.machine.survey import Machine
from glimp_local.models.catalogue import load_catalogue
from glimp_local.paths import packaged_file
from glimp_local.settings import ModelSource, PairConfig
from glimp_local.tui.download import Download
from glimp_local.tui.screens.pairs import PairRow, PairScreen
from tests.conftest import BUILTIN
from tests.support.chatting import Chat, chatting, played
from tests.support.commands import mine, read_hub_settings
from tests.support.hub_server import Hub
from tests.support.llama_server import LlamaServer
from tests.support.pulling import partials
from tests.support.relay import Relay

GIB = 2**30
CONFIG = load_catalogue(packaged_file()).pairs["qwen3-1.7b-8b"]
BYTES = 6_862_209_504


def sources(config: PairConfig) -> tuple[ModelSource, ...]:
    return tuple(source for source in (config.small, config.large) if source is not None)


def row(files: PairFiles, expected: Forecast | None = None) -> PairRow:
    return PairRow("qwen3-1.7b-8b", CONFIG, files, expected=expected)


# What is said of a pair.


def test_a_pair_that_is_not_here_says_size_fit_speed_and_licence() -> None:
    away = row(PairFiles(0, BYTES, sources(CONFIG)))
    assert away.facts() == "6.9 GB to download · looking whether it fits · Apache-2.0"
    away.expected = Forecaster(Machine(32 * GIB)).forecast(CONFIG)
    assert away.facts() == "6.9 GB to download · fits, about 7.4 tokens/s, 1.4 times the large model's · Apache-2.0"
    assert away.advice() == "Both models on the CPU, context 16,384. Enter downloads 6.9 GB and loads it."


def test_of_one_that_is_here_in_part_the_rest_is_downloaded() -> None:
    part = row(PairFiles(2_000_000_000, BYTES, sources(CONFIG)[1:]))
    assert part.facts().startswith("2.0 GB of 6.9 GB here · ")
    assert part.advice() == "Enter downloads the rest (4.9 GB) and loads it."


def test_one_that_does_not_fit_says_what_it_takes() -> None:
    little = Machine(2 * GIB, repacked=frozenset({"Q4_K", "Q8_0"}))
    here = row(PairFiles(BYTES, BYTES), Forecaster(little).forecast(CONFIG))
    assert here.facts() == "here · does not fit · Apache-2.0"
    assert here.is_hopeless
    assert "are free: it does not fit. " in here.advice()


def test_one_whose_file_is_gone_offers_nothing_to_press() -> None:
    gone = row(PairFiles(0, None, problem="x.gguf: no such file (check the path)"))
    assert gone.facts().startswith("cannot be used · ")
    assert gone.advice() == "x.gguf: no such file (check the path)."


# A pair with a model on a server.


def test_of_a_model_on_a_server_the_place_is_shown_and_what_enter_does() -> None:
    large = ModelSource(url="http://box:8000/v1")
    part = PairConfig(small=CONFIG.small, large=large)
    here = PairRow("mine", part, PairFiles(1, 1), expected=Forecaster(Machine(32 * GIB)).forecast(part))
    assert here.facts().startswith("here, large on box:8000 · fits, the small model about ")
    assert here.advice() == (
        "The small model on the CPU, context 16,384. Enter connects to box:8000 and loads the rest."
    )
    whole = PairConfig(small=large, large=large)
    far = PairRow("far", whole, pair_files(whole), expected=Forecaster(Machine(32 * GIB)).forecast(whole))
    assert far.facts() == "on box:8000 · nothing to load here"
    assert far.advice() == "Enter connects to box:8000."
    assert not far.is_hopeless
    away = PairRow("mine", part, pair_files(part))
    assert away.facts().startswith("1.8 GB to download · ")


def test_an_address_that_is_none_offers_nothing_to_press() -> None:
    wrong = PairConfig(small=CONFIG.small, large=ModelSource(url="http://me:secret@box"))
    row = PairRow("mine", wrong, pair_files(wrong))
    assert row.facts().startswith("cannot be used · ")
    assert row.advice().startswith("the large model: the address of a server holds no key or password")
    assert "secret" not in row.facts() + row.advice()


@played
async def test_the_list_connects_to_no_server_until_its_pair_is_chosen() -> None:
    with LlamaServer(BUILTIN / "large.gguf") as server, Relay(server.url) as relay:
        small = f"small = {{path = '{BUILTIN / 'small.gguf'}'}}\n"
        mine(f"[pairs.box]\n{small}large = {{url = '{relay.url}'}}\n")
        relay.silence()
        async with chatting(pair={"name": "builtin"}) as chat:
            await open_list(chat, "box")
            assert f"here, large on 127.0.0.1:{relay.port} · fits, the small model about " in chat.screen
            assert advice(chat).endswith(f"Enter connects to 127.0.0.1:{relay.port} and loads the rest.")
            assert relay.accepted == 0
            relay.speak()
            await chat.press("enter")
            await chat.until(lambda: chat.status.startswith("box"))
            assert relay.accepted > 0
            await open_list(chat, "box")
            assert "loaded · fits, the small model about " in chat.screen
            assert advice(chat).endswith(f"Enter connects to 127.0.0.1:{relay.port} again and loads the rest.")


# The download.


@pytest.fixture
def slow_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub with the pair "tiny" on it, so slow that one can press keys meanwhile; retries are quick."""
    read_hub_settings()
    for module in ("partial", "pull"):
        monkeypatch.setattr(f"glimp_local.models.hub.{module}.WAITS_SECONDS", (0.01,) * 5)
    hub.seconds_a_piece = 0.1
    return hub


def tiny_pair() -> PairConfig:
    return load_catalogue().pairs["tiny"]


def test_a_download_counts_all_files_of_a_pair_and_comes_to_its_end(slow_hub: Hub) -> None:
    slow_hub.seconds_a_piece = 0
    download = Download(sources(tiny_pair()))
    assert download.line() == "asking the hub"
    download.start()
    download.wait()
    assert download.is_whole
    assert download.error is None
    assert download.done_bytes == download.total_bytes == 1_641_920 + 22_224_640
    assert download.line().startswith("23.9 MB of 23.9 MB")


def test_a_stopped_download_keeps_what_came_and_the_next_one_continues(slow_hub: Hub, home: Path) -> None:
    first = Download(sources(tiny_pair()))
    first.start()
    while not first.done_bytes:
        pass
    first.stop()
    slow_hub.seconds_a_piece = 0
    second = Download(sources(tiny_pair()), after=first)
    second.start()
    second.wait()
    assert str(first.error) == "the download was stopped"
    assert second.is_whole
    assert (slow_hub.ranges[1] or "").startswith("bytes=")
    assert not partials(home)


async def open_list(chat: Chat, name: str) -> OptionList:
    """Open the list of pairs and go to one."""
    await chat.until(lambda: not chat.app._pump.loading)
    await chat.app.action_choose_pair()
    await chat.until(lambda: isinstance(chat.app.screen, PairScreen))
    options = chat.app.screen.query_one(OptionList)
    options.highlighted = options.get_option_index(name)
    await chat.until(lambda: "Enter " in chat.screen and "looking whether" not in chat.screen)
    return options


def advice(chat: Chat) -> str:
    """What stands below the list."""
    return str(chat.app.screen.query_one("#advice", Static).render())


@played
async def test_enter_on_a_pair_that_is_not_here_downloads_and_loads_it_and_esc_keeps_what_came(slow_hub: Hub) -> None:
    async with chatting(pair={"name": "builtin"}) as chat:
        await open_list(chat, "tiny")
        assert "23.9 MB to download · not known before it is here · MIT" in chat.screen
        chat.app.screen.query_one(OptionList).action_first()
        await chat.until(lambda: "loaded · fits, about " in chat.screen)
        chat.app.screen.query_one(OptionList).action_last()
        await chat.press("enter")
        await chat.until(lambda: "MB of 23.9 MB, " in chat.screen)
        await chat.press("escape")
        await chat.until(lambda: "here and are kept. Enter continues from there, Esc closes." in advice(chat))
        assert "MB of 23.9 MB here" in chat.screen
        slow_hub.seconds_a_piece = 0
        await chat.press("enter")
        await chat.until(lambda: chat.status.startswith("tiny"))
        assert not isinstance(chat.app.screen, PairScreen)


@played
async def test_a_licence_to_accept_and_a_hub_out_of_reach_are_said_with_what_to_do(
    slow_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_hub.gated = True
    async with chatting(pair={"name": "builtin"}) as chat:
        await open_list(chat, "tiny")
        await chat.press("enter")
        await chat.until(lambda: advice(chat).endswith(". Enter tries again."))
        assert "is gated: its maker wants the licence to be accepted first. Accept it at http" in advice(chat)
        slow_hub.gated = False
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        read_hub_settings()
        await chat.press("enter")
        await chat.until(lambda: "HF_HUB_OFFLINE is set" in advice(chat))
        assert advice(chat).endswith("Unset HF_HUB_OFFLINE. Enter tries again.")
        await chat.press("escape")
        assert not isinstance(chat.app.screen, PairScreen)


@played
async def test_a_pair_that_does_not_fit_is_taken_when_enter_insists(
    small: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "glimp_local.tui.screens.pairs.survey", lambda: Machine(2**20, repacked=frozenset({"F32", "F16"}))
    )
    async with chatting(small, large) as chat:
        await open_list(chat, "builtin")
        await chat.press("enter")
        await chat.until(lambda: "press Enter again" in advice(chat))
        await chat.press("enter")
        await chat.until(lambda: chat.status.startswith("builtin"))


def test_a_flag_that_a_pair_cannot_be_loaded_with_is_said_at_the_pair() -> None:
    request = LoadRequest(settings={"context": -1})
    screen = PairScreen(request, load_catalogue())
    assert "pair.context" in screen._rows["builtin"].advice()
