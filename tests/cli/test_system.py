"""--system: a text, or a file, before the first question."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from glimp_local.cli.completers import complete_text_or_file
from glimp_local.cli.solve import solve
from glimp_local.cli.texts import read_system
from glimp_local.errors import UsageError
from glimp_local.events import Started, decode_events
from tests.support.commands import QUESTION, Glimp
from tests.support.damaged import HEADER, turn_lines, write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "style.txt"


def test_a_text_is_taken_as_it_is_typed() -> None:
    assert read_system(" Be brief.\n") == "Be brief."


def test_a_file_is_read(file: Path) -> None:
    file.write_bytes("\ufeffSei knapp, bitte: ä.\n".encode())
    assert read_system(f"@{file}") == "Sei knapp, bitte: ä."


def test_the_home_folder_is_found_behind_the_at(home: Path) -> None:
    (home / "style.txt").write_text("Be brief.")
    assert read_system("@~/style.txt") == "Be brief."


@pytest.mark.parametrize(("given", "text"), [("@@home", "@home"), ("@@", "@"), ("@@@x", "@@x"), ("a@b", "a@b")])
def test_a_second_at_begins_a_text_that_starts_with_one(given: str, text: str) -> None:
    assert read_system(given) == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"caf\xe9", "is not UTF-8 text (byte 0xe9 at offset 3)"),
        (b"x" * (2**24 + 1), "is larger than 16.8 MB"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(file: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_system(f"@{file}")
    assert str(caught.value).startswith(f"{file} {message}")
    assert caught.value.hint


def test_a_folder_is_no_system_message(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Is a directory"):
        read_system(f"@{tmp_path}")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device that never ends")
def test_a_device_that_never_ends_is_not_read_to_its_end() -> None:
    with pytest.raises(UsageError, match="/dev/zero is larger than"):
        read_system("@/dev/zero")


def test_a_missing_file_says_how_a_text_begins_with_an_at() -> None:
    with pytest.raises(UsageError) as caught:
        read_system("@everyone")
    assert "@@" in str(caught.value.hint)


def test_an_empty_text_is_none_and_an_at_alone_names_no_file() -> None:
    assert read_system("") == read_system(" \n") == ""
    with pytest.raises(UsageError, match="@ names no file") as caught:
        read_system("@")
    assert caught.value.hint


def test_bytes_that_are_no_utf_8_are_refused_as_they_were_typed() -> None:
    with pytest.raises(UsageError, match=r"--system is not UTF-8 text \(byte 0xe9 at offset 3\)"):
        read_system(os.fsdecode(b"caf\xe9"))


def test_a_wrong_system_message_is_a_message_and_no_model_is_loaded(glimp: Glimp) -> None:
    result = glimp.solve("--text", QUESTION, "--system", "@/nowhere/style.txt")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("glimp: /nowhere/style.txt cannot be read: No such file or directory\nhint: ")


def offered(incomplete: str) -> list[str]:
    context = solve.make_context("solve", [], resilient_parsing=True)
    return [item.value for item in complete_text_or_file(context, solve.params[0], incomplete)]


def test_files_are_offered_behind_the_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "texts"
    (folder / "styles").mkdir(parents=True)
    for name in ("style.txt", "styles/long.txt", "other.txt", ".hidden"):
        (folder / name).write_text("x")
    monkeypatch.chdir(folder)
    assert offered("@") == ["@other.txt", "@style.txt", "@styles/"]
    assert offered("@st") == ["@style.txt", "@styles/"]
    assert offered("@styles/") == ["@styles/long.txt"]
    assert offered(f"@{folder}/styles/l") == [f"@{folder}/styles/long.txt"]
    assert offered("@.h") == ["@.hidden"]
    assert offered("@nowhere/") == offered("st") == offered("@@st") == []


# In a run.


def test_the_models_read_the_system_message_before_the_problem(glimp: Glimp) -> None:
    plain, told = (
        decode_events(glimp.solve("--text", QUESTION, "--jsonl", *flags).out.encode().splitlines())[0]
        for flags in ([], ["--system", "Be brief."])
    )
    assert isinstance(plain, Started)
    assert isinstance(told, Started)
    assert (plain.system, told.system, told.question) == (None, "Be brief.", QUESTION)
    assert told.prompt_tokens > plain.prompt_tokens


def test_a_pair_s_own_message_is_read_unless_the_flag_gives_another(glimp: Glimp, home: Path) -> None:
    file = home / "config" / "glimp" / "models.toml"
    file.parent.mkdir(parents=True)
    models = "\n".join(f"{model} = {{path = '{glimp.tiny / model}.gguf'}}" for model in ("small", "large"))
    file.write_text(f"[pairs.mine]\nsystem = 'Be kind.'\n{models}\n")
    own, given, empty = (
        decode_events(glimp("solve", "--pair", "mine", "--text", QUESTION, "--jsonl", *flags).out.encode().splitlines())
        for flags in ([], ["--system", "Be brief."], ["--system", ""])
    )
    for events, system in ((own, "Be kind."), (given, "Be brief."), (empty, None)):
        assert isinstance(events[0], Started)
        assert events[0].system == system


USER_ALONE = "<|im_start|>user\n{{ said.content }}<|im_end|>\n"
LEFT_OUT = "{% for said in messages if said.role == 'user' %}" + USER_ALONE + "{% endfor %}<|im_start|>assistant\n"
REFUSED = (
    "{% for said in messages %}{% if said.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + USER_ALONE
    + "{% endfor %}<|im_start|>assistant\n"
)


@pytest.mark.parametrize(
    ("template", "message"), [(LEFT_OUT, "takes no system message"), (REFUSED, "cannot be rendered: no system role")]
)
def test_a_template_without_a_system_message_says_so_and_what_to_do(
    glimp: Glimp, tmp_path: Path, template: str, message: str
) -> None:
    own = tmp_path / "own.jinja"
    own.write_text(template)
    assert glimp.solve("--text", QUESTION, "--chat-template", own).code == 0
    result = glimp.solve("--text", QUESTION, "--chat-template", own, "--system", "Be brief.")
    assert (result.code, result.out) == (3, "")
    assert message in result.err
    assert "hint: leave the system message out" in result.err
    assert "--chat-template FILE" in result.err


# In a chat, where a conversation keeps its own.


def test_a_conversation_without_a_system_message_gets_none(glimp: Glimp) -> None:
    write("x", HEADER, *turn_lines(0))
    result = glimp("chat", "--continue", "--system", "Be brief.")
    assert result.code == 2
    assert "--system is for a new conversation: x has none" in result.err
    assert "hint: leave --system out, or begin a conversation: glimp chat --system" in result.err


def test_a_conversation_keeps_the_system_message_it_began_with(glimp: Glimp) -> None:
    write("x", HEADER, *turn_lines(0, system="Be brief."))
    result = glimp("chat", "--resume", "x", "--system", "Be long.")
    assert result.code == 2
    assert "--system is for a new conversation: x keeps the one it began with" in result.err
    assert "a chat needs a terminal" in glimp("chat", "--resume", "x", "--system", "Be brief.").err


def test_a_new_chat_takes_a_system_message_that_can_be_read(glimp: Glimp, file: Path) -> None:
    assert "No such file" in glimp("chat", "--system", f"@{file}").err
    file.write_text("Be brief.")
    assert "a chat needs a terminal" in glimp("chat", "--system", f"@{file}").err
