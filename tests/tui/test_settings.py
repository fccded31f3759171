"""Settings changed within the chat: how they are read, what they change and when, and what is kept."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.widgets import Button, Input, Select, TextArea

from glimp_local.errors import ConfigError
from glimp_local.messages import Message
from glimp_local.paths import user_file
from glimp_local.records import preferences
from glimp_local.records.preferences import Preferences
from glimp_local.routing import PolicyName, Share, Threshold
from glimp_local.settings import RunSettings, SamplingSettings
from glimp_local.tui import settings_form as form
from glimp_local.tui.panel import SidePanel
from glimp_local.tui.screens.settings import SettingRow, SettingsScreen
from tests.support.chatting import Chat, chatting, played
from tests.support.scripted import ScriptedBackend, scripted_pair
from tests.support.sessions import GREEDY

SETTINGS = RunSettings()

# Without an app.


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("sampling.temperature", " 0.2 ", 0.2),
        ("sampling.top_k", "0", 0),
        ("threshold", "1", 1.0),
        ("max_thought", "100000", 100_000),
        ("policy", "share", "share"),
    ],
)
def test_a_value_is_read_as_what_the_setting_is(key: str, text: str, value: Any) -> None:
    assert form.read(key, text) == value
    assert form.value_of(form.replaced(SETTINGS, {key: value}), key) == value


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("sampling.temperature", "hot", "expected a number from 0 to 100"),
        ("sampling.temperature", "0,3", "expected a number from 0 to 100, without a comma"),
        ("sampling.temperature", "nan", "expected a number from 0 to 100"),
        ("threshold", "-1", "expected a number, 0 or more"),
        ("threshold", "inf", "expected a number, 0 or more, and less than inf"),
        ("share", "30%", "expected a number from 0 to 1"),
        ("sampling.repeat_penalty", "0", "expected a number above 0"),
        ("max_answer", "2.5", "expected a whole number, 1 or more"),
        ("max_answer", "", "expected a whole number, 1 or more"),
        ("max_answer", "99999999999", "expected a whole number, 1 or more, and less than 99999999999"),
        ("policy", "mine", "expected one of: threshold, share, small, large, random, speculative"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_expected(key: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        form.read(key, text)
    assert str(error.value) == said


@pytest.mark.parametrize("key", form.FIELDS)
def test_what_a_field_shows_is_read_as_the_value_it_shows(key: str) -> None:
    odd = RunSettings(threshold=0.1 + 0.2, share=1 / 3, sampling=SamplingSettings(temperature=0.123456789))
    for settings in SETTINGS, odd:
        assert form.read(key, form.shown(settings, key)) == form.value_of(settings, key)


def test_what_changes_is_said_with_the_moment_from_which_it_counts() -> None:
    changed = form.replaced(SETTINGS, {"policy": "share", "share": 0.3, "sampling.temperature": 0.2, "max_step": 64})
    assert list(form.in_words(SETTINGS, changed)) == [
        "From the next step: policy share, share 0.3.",
        "From the next question: temperature 0.2, step 64.",
    ]
    assert not list(form.in_words(SETTINGS, SETTINGS))


def test_what_differs_is_a_table_of_models_toml() -> None:
    changed = form.replaced(SETTINGS, {"threshold": 0.5, "sampling.top_k": 40})
    assert form.as_table(form.differing(SETTINGS, changed)) == {"threshold": 0.5, "sampling": {"top_k": 40}}


def test_the_settings_in_force_have_what_the_keys_have_moved() -> None:
    assert form.in_force(SETTINGS, Threshold(0.7)).threshold == 0.7
    moved = form.in_force(SETTINGS, Share(0.4, threshold_nats=1.0))
    assert (moved.policy, moved.share) == ("share", 0.4)


def test_a_policy_that_cannot_be_used_says_why() -> None:
    def said(policy: PolicyName, drafting: str | None = None) -> str:
        return form.obstacle(policy, pair, drafting) or ""

    with scripted_pair() as pair:
        assert said("large") == ""
        assert said("speculative", "they differ") == "the small model cannot draft for the large one: they differ"
        small = pair.backends["small"]
        assert isinstance(small, ScriptedBackend)
        small.can_glimpse = False
        assert said("share") == "small does not tell how sure it is"
        del pair.backends["small"]
        assert said("threshold").startswith("needs the small model, which is not loaded")


def test_preferences_are_remembered_and_a_damaged_file_is_said() -> None:
    assert preferences.read() == Preferences()
    preferences.keep(Preferences(theme="nord", panel=False))
    assert preferences.read() == Preferences(theme="nord", panel=False)
    assert preferences.file().stat().st_mode & 0o077 == 0
    preferences.file().write_text('{"theme": "nord", "of a later version": 1}')
    assert preferences.read() == Preferences(theme="nord")
    for damaged in (b"{", b'{"theme": "\xff"}', b"[" * 100_000):
        preferences.file().write_bytes(damaged)
        with pytest.raises(ConfigError, match="cannot be read"):
            preferences.read()


# In the chat.


async def open_settings(chat: Chat) -> None:
    await chat.press("ctrl+s")
    await chat.until(lambda: is_open(chat))


def is_open(chat: Chat) -> bool:
    return isinstance(chat.app.screen, SettingsScreen)


def row(chat: Chat, key: str) -> SettingRow:
    (found,) = [each for each in chat.app.screen.query(SettingRow) if each.field.key == key]
    return found


def fill(chat: Chat, **values: str) -> None:
    for key, value in values.items():
        field = row(chat, key.replace("__", ".")).query_one("Input, Select")
        assert isinstance(field, Input | Select)
        field.value = value


@played
async def test_settings_count_from_the_next_step_or_question_and_end_with_the_conversation(
    small: Path, large: Path
) -> None:
    async with chatting(small, large) as chat:
        await chat.ask()
        await open_settings(chat)
        assert chat.app.screen.query_one("#keep", Button).disabled  # the pair is given by its files
        fill(chat, policy="large", max_thought="4")
        await chat.press("ctrl+s")
        await chat.until(lambda: len(chat.notices) == 2)
        assert chat.notices == ["From the next step: policy large.", "From the next question: thought 4."]
        assert chat.app.session is not None
        await chat.until(lambda: chat.app.session and chat.app.session.settings.max_thought == 4)
        await chat.ask("again")
        assert set(chat.letters) == {"L"}
        assert sum(step.tokens for step in chat.turn.run.steps if step.part == "thought") == 4
        await open_settings(chat)
        assert (row(chat, "policy").text, row(chat, "max_thought").text) == ("large", "4")
        fill(chat, policy="threshold")  # the small model is still there
        await chat.press("ctrl+s")
        await chat.until(lambda: "policy threshold" in chat.notices[-1])
        chat.app.action_new()
        await chat.until(lambda: not chat.turns)
        await chat.ask("in a new conversation")
        assert chat.letters == "SSLS"


@played
async def test_a_wrong_value_is_said_at_its_field_and_nothing_is_used(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await open_settings(chat)
        fill(chat, sampling__temperature="hot", share="0.5")
        await chat.until(lambda: "expected a number from 0 to 100" in chat.screen)
        await chat.press("ctrl+s")
        assert is_open(chat)
        assert chat.app.focused is row(chat, "sampling.temperature").query_one(Input)
        await chat.press("escape")
        assert is_open(chat)  # what was typed is not lost to one key
        await chat.press("escape")
        assert not is_open(chat)
        assert chat.app.session is not None
        assert chat.app.session.settings.sampling.temperature == 0


@played
async def test_kept_settings_are_in_models_toml_and_begin_new_conversations(small: Path, large: Path) -> None:
    user_file().parent.mkdir(parents=True)
    user_file().write_text(
        f"# mine\n[pairs.mine]\nsampling = {{temperature = 0}}\nsmall = {{path = '{small}'}}\n"
        f"large = {{path = '{large}'}}\n"
    )
    async with chatting(pair={"name": "mine"}) as chat:
        await chat.until(lambda: chat.status.startswith("mine"))
        await open_settings(chat)
        fill(chat, threshold="9", sampling__top_k="7")
        chat.app.screen.query_one(TextArea).text = "Be brief."
        chat.app.screen.query_one("#keep", Button).press()
        await chat.until(lambda: chat.notices and chat.notices[-1].startswith("Kept for mine, in "))
        text = user_file().read_text()
        assert text.startswith("# mine\n")
        kept = tomllib.loads(text)["pairs"]["mine"]
        assert (kept["threshold"], kept["sampling"], kept["system"]) == (9.0, GREEDY | {"top_k": 7}, "Be brief.")
        await chat.ask("first")
        assert chat.letters == "SSSS"
        chat.app.action_new()
        await chat.until(lambda: not chat.turns)
        await chat.ask("second")
        assert chat.letters == "SSSS"
        assert chat.app.session is not None
        assert chat.app.session.messages[0] == Message("system", "Be brief.")
    async with chatting(pair={"name": "mine"}) as chat:
        await chat.ask("third")
        assert chat.letters == "SSSS"
        assert "Be brief." in chat.screen


@played
async def test_a_command_sets_the_system_message(small: Path, large: Path) -> None:
    async with chatting(small, large) as chat:
        await chat.type("/system Be brief.")
        await chat.press("enter")
        await chat.until(lambda: chat.notices == ["The system message from the next question on."])
        await chat.ask("first")
        assert chat.app.session is not None
        assert chat.app.session.messages[0] == Message("system", "Be brief.")
        await chat.type("/system Be kind.")
        await chat.press("enter")
        await chat.until(lambda: "The system message from the next conversation on." in chat.notices)
        await chat.type("/system")
        await chat.press("enter")
        await chat.until(lambda: isinstance(chat.app.screen, SettingsScreen))
        assert "Be kind." in chat.screen


@played
async def test_a_conversation_that_has_begun_keeps_its_system_message(small: Path, large: Path) -> None:
    async with chatting(small, large, system="Be brief.") as chat:
        await open_settings(chat)
        assert chat.app.screen.query_one(TextArea).text == "Be brief."
        chat.app.screen.query_one(TextArea).text = "Be kind."
        await chat.press("ctrl+s")
        await chat.until(lambda: chat.notices == ["The system message from the next question on."])
        await chat.ask("first")
        assert chat.app.session is not None
        assert chat.app.session.messages[0] == Message("system", "Be kind.")
        await open_settings(chat)
        chat.app.screen.query_one(TextArea).text = ""
        await chat.press("ctrl+s")
        await chat.until(lambda: "No system message from the next conversation on." in chat.notices)
        await chat.ask("second")
        assert chat.app.session.messages[0] == Message("system", "Be kind.")
        chat.app.action_new()
        await chat.until(lambda: not chat.turns)
        await chat.ask("third")
        assert [message.role for message in chat.app.session.messages] == ["user", "assistant"]


@played
async def test_theme_and_panel_are_as_they_were_left_and_a_flag_wins_for_one_run(small: Path) -> None:
    async with chatting(small) as chat:
        await chat.press("ctrl+b")
        chat.app.theme = "nord"
        await chat.until(lambda: preferences.read() == Preferences(theme="nord", panel=False))
    async with chatting(small) as chat:
        assert chat.app.theme == "nord"
        assert not chat.app.query_one(SidePanel).display
    preferences.keep(msgspec.structs.replace(preferences.read(), theme="of yesterday"))
    async with chatting(small, theme="gruvbox") as chat:
        assert chat.app.theme == "gruvbox"
        assert preferences.read().theme == "of yesterday"
    async with chatting(small) as chat:
        assert chat.app.theme == "textual-dark"
        said = [notification.message for notification in chat.app._notifications]
        assert said[0].startswith("There is no theme 'of yesterday' any more")
