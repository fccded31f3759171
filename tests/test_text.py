"""What a model, a file or a name says cannot steer the terminal; a pipe and a file get every byte as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from textual.content import Content
from textual.widgets import Static

from glimp_local.errors import GlimpError
from glimp_local.records import conversations
from glimp_local.text import Pieces, harmless, harmless_json, one_line, without_controls
from glimp_local.tui.markdown import parser
from glimp_local.tui.screens.pairs import PairScreen
from tests.support.chatting import chatting, played
from tests.support.commands import GLIMP, QUESTION, Glimp
from tests.support.headers import gguf_bytes, text
from tests.support.tiny_models import byte_alphabet, spell, write_story

HOSTILE = {
    "a title": "\x1b]0;hacked\x07",
    "a colour": "\x1b[41m",
    "the clipboard": "\x1b]52;caGk=\x07",
    "another way to begin": "\x9b31m",
    "a line written over": "safe\rnot",
    "a letter taken back": "ab\x08c",
    "what follows backwards": "a\u202ebc",
    "an isolate": "a\u2067bc",
    "a deletion": "a\x7fb",
}
"""No byte of any occurs twice in it: `writes` counts on that."""
RAW = re.compile(r"\x1b\]|\x1b\[41m|[\x07\x08\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Nothing that glimp itself puts on a terminal looks like this."""
POINTER = re.compile(r"\x1b\]22;\w+\x07")
"""But for the shape of the mouse pointer, which Textual sets once."""


@pytest.fixture
def writes(tmp_path: Path) -> Callable[[str], Path]:
    """Make a model that writes a text as its thought and as its answer."""

    def write(text: str) -> Path:
        spelled = [byte_alphabet()[byte] for byte in text.encode()]
        assert len(set(spelled)) == len(spelled)
        table = {before: {after: 9.0} for before, after in pairwise(spelled)}
        blank = spell("\n\n")
        table |= {spell("\n"): {spelled[0]: 9.0}, "</think>": {blank: 9.0}, blank: {spelled[0]: 9.0}}
        table[spelled[-1]] = {"<|im_end|>": 9.0}
        return write_story(tmp_path / "hostile.gguf", table, spelled=True)

    return write


@pytest.fixture
def terminal() -> Iterator[Callable[..., Any]]:
    pytest.importorskip("termios")  # where there are pseudo-terminals
    from benchmarks.terminal import Terminal  # noqa: PLC0415 - as above

    opened: list[Terminal] = []

    def open_(*arguments: object) -> Terminal:
        opened.append(Terminal([*GLIMP, *map(str, arguments)], columns=140))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


# What is shown, and what is left.


def test_what_steers_a_terminal_is_shown() -> None:
    assert harmless("\x1b]0;x\x07\r\x00\x7f") == "\u241b]0;x\u2407\u240d\u2400\u2421"
    for code in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)):
        char = chr(code)
        assert (harmless(char) == char) == (char in "\n\t")
        assert len(harmless(char)) == 1
        assert without_controls(f"a{char}b") == ("ab" if char not in "\n\t" else f"a{char}b")


def test_the_end_of_a_line_as_windows_writes_it_is_one_also_where_it_comes_in_two_pieces() -> None:
    text = "a\r\nb\rc\r\r\n\rd\r"
    assert harmless(text) == "a\nb\u240dc\u240d\n\u240dd\u240d"
    for cut in range(len(text) + 1):
        pieces = Pieces()
        shown = pieces.take(text[:cut]) + pieces.take(text[cut:])
        assert shown == harmless(text[:-1])  # the last one waits for what comes behind it


def test_honest_text_stays_as_it_is() -> None:
    text = "שלום\u200f! (a) مرحبا\u061c, naïve 日本 👩\u200d👩\u200d👧 \u00ad\u200b\tx\n"
    assert harmless(text) == text
    assert without_controls(text) == text


def test_a_line_stays_one_line() -> None:
    assert one_line("a\r\nb\x0bc\u2028d\u202e") == "a b c d\ufffd"


def test_json_says_the_same_and_steers_nothing() -> None:
    said = {"text": "".join(HOSTILE.values())}
    spelled = harmless_json(json.dumps(said, ensure_ascii=False).encode())
    assert json.loads(spelled) == said
    assert not RAW.search(spelled)


# Commands on a terminal, and into a pipe.


@pytest.mark.parametrize("name", HOSTILE)
def test_thoughts_and_answer_are_shown_on_a_terminal(
    writes: Callable[[str], Path], terminal: Callable[..., Any], name: str
) -> None:
    path = writes(HOSTILE[name])
    pair = ["--small", path, "--large", path, "--temperature", "0"]
    run = terminal("solve", *pair, "--text", QUESTION, "--thoughts")
    assert run.end() == 0
    drawn = run.drawn.decode()
    assert not RAW.search(drawn)
    assert drawn.count(harmless(HOSTILE[name])) >= 2  # the thought, once or more in passing, and the answer


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pipe_and_a_file_get_every_byte(
    glimp: Glimp, writes: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    path = writes(HOSTILE[name])
    pair: list[str | Path] = ["--small", path, "--large", path, "--temperature", "0", "--text", QUESTION]
    result = glimp("solve", *pair, "--save", tmp_path / "run.jsonl", "--thoughts")
    assert (result.code, result.out) == (0, HOSTILE[name] + "\n")
    assert not RAW.search(result.err)  # for people, wherever it goes
    events = map(json.loads, (tmp_path / "run.jsonl").read_bytes().splitlines())
    assert [event["text"] for event in events if event["type"] == "answer"] == [HOSTILE[name]]


@pytest.mark.parametrize("name", ["another way to begin", "what follows backwards"])
def test_json_in_a_pipe_is_not_spelled_anew(glimp: Glimp, writes: Callable[[str], Path], name: str) -> None:
    path = writes(HOSTILE[name])
    result = glimp("solve", "--small", path, "--large", path, "--temperature", "0", "--text", QUESTION, "--json")
    assert json.loads(result.out)["answer"] == HOSTILE[name]
    assert HOSTILE[name] in result.out


@pytest.mark.parametrize("flag", ["--json", "--jsonl"])
def test_json_on_a_terminal_steers_nothing(
    writes: Callable[[str], Path], terminal: Callable[..., Any], flag: str
) -> None:
    path = writes(HOSTILE["another way to begin"])
    run = terminal("solve", "--small", path, "--large", path, "--temperature", "0", "--text", QUESTION, flag, "-q")
    assert run.end() == 0
    assert not RAW.search(run.drawn.decode())
    assert "\\u009b31m" in run.drawn.decode()


NAME = "\x1b]0;x\x07\u202e"


@pytest.fixture
def named(tmp_path: Path, tiny: Path) -> Path:
    """Give a models.toml whose one pair and whose models' files have hostile names."""
    lines = [f"[pairs.{json.dumps(NAME)}]", f"description = {json.dumps(NAME)}", "sampling = {temperature = 0.0}"]
    for model in ("small", "large"):
        path = tmp_path / f"{NAME}{model}.gguf"
        path.symlink_to(tiny / f"{model}.gguf")
        lines.append(f"{model} = {{path = {json.dumps(str(path))}}}")
    file = tmp_path / "models.toml"
    file.write_text("\n".join(lines))
    return file


@pytest.mark.parametrize(
    "command",
    [
        ["solve", "--pair", NAME, "--text", QUESTION, "--thoughts"],
        ["solve", "--pair", NAME, "--text", QUESTION, "--chat-template", NAME],
        ["plan", "--pair", NAME],
        ["config", "show", NAME],
        ["models", "list", "--paths"],
        ["models", "list", "--json"],
        ["models", "info", NAME, "--json"],
        ["models", "info", NAME],
        ["models", "compare", NAME],
        ["models", "info", f"/{NAME}.gguf"],
    ],
    ids=lambda command: " ".join(command).replace(NAME, "NAME"),
)
def test_names_of_pairs_and_files_steer_nothing(named: Path, terminal: Callable[..., Any], command: list[str]) -> None:
    run = terminal(*command, "--models", named)
    run.end()
    drawn = run.drawn.decode()
    assert "Traceback" not in drawn
    assert not RAW.search(drawn)
    if command[0] != "solve" or "--chat-template" in command:
        assert "0;x" in drawn  # it is shown


@pytest.mark.parametrize("command", ["plan", "config show", "models list", "models info", "models compare"])
def test_names_of_pairs_and_files_are_what_they_are_in_a_pipe(named: Path, glimp: Glimp, command: str) -> None:
    what = {"plan": ["--pair", NAME], "models list": ["--paths"]}.get(command, [NAME])
    begins = {"plan": f"{NAME}\n", "config show": f"# The pair {NAME}, as asked for."}
    result = glimp(*command.split(), *what, "--models", named)
    assert result.code == 0, result.err
    assert result.out.startswith(begins[command]) if command in begins else f"{NAME}small.gguf" in result.out
    assert not RAW.search(result.err)


def test_what_stands_in_a_header_and_in_the_cache_steers_nothing(
    tmp_path: Path, home: Path, terminal: Callable[..., Any]
) -> None:
    nasty, fields = NAME + "\x9b31m", ("name", "basename", "organization", "license")
    path = tmp_path / "nasty.gguf"
    keys = [text(f"general.{field}", nasty) for field in fields]
    path.write_bytes(gguf_bytes([*keys, text("general.architecture", nasty)]))
    cached = home / "hub" / "hub" / "models--a--b" / "snapshots" / ("0" * 40) / f"x{nasty}.gguf"
    cached.parent.mkdir(parents=True)
    cached.symlink_to("../../blobs/" + "0" * 64)
    for command in (["info", path], ["info", path, "--json"], ["list", "--paths"], ["verify"], ["verify", "--json"]):
        run = terminal("models", *command)
        run.end()
        drawn = run.drawn.decode()
        assert "0;x" in drawn, command
        assert not RAW.search(drawn)


# The chat.


def test_a_chat_shows_what_its_models_write_and_are_called(
    named: Path, terminal: Callable[..., Any], writes: Callable[[str], Path]
) -> None:
    path = writes(HOSTILE["a title"])
    chat = terminal("chat", "--small", path, "--large", path, "--temperature", "0")
    chat.shows("S hostile")
    chat.type(f"{QUESTION}\r")
    chat.shows(harmless(HOSTILE["a title"]))
    chat.shows("all of it")  # the panel, when the turn is over
    chat.type("\x11")
    assert chat.end() == 0
    assert not RAW.search(POINTER.sub("", chat.drawn.decode()))
    conversations.find().path.rename(conversations.folder() / f"{NAME}.jsonl")
    again = terminal("chat", "--continue", "--models", named, "--pair", NAME)
    again.shows(harmless(HOSTILE["a title"]))
    again.shows(f"{harmless(NAME)} · CPU")
    again.type("\x11")
    assert again.end() == 0
    assert f"glimp chat --resume {harmless(NAME)}" in again.drawn.decode()
    assert not RAW.search(POINTER.sub("", again.drawn.decode()))


@played
async def test_a_hostile_question_is_shown_in_the_box_and_above_it_and_sent_as_it_is(small: Path) -> None:
    question = "".join(HOSTILE.values())
    async with chatting(small) as chat:
        await chat.type(question)
        assert harmless(question.partition("\r")[0]) in chat.screen
        await chat.press("enter")
        await chat.until(lambda: chat.turns and not chat.app.busy)
        assert chat.turn.question == question.replace("\r", "\n")  # the box knows one kind of line
        assert not RAW.search(chat.screen)
        assert "\u241b]0;hacked\u2407" in chat.screen
        await chat.press("e")
        assert not RAW.search(chat.screen)


@played
async def test_pairs_errors_and_notices_of_the_chat_are_shown(named: Path, small: Path) -> None:
    async with chatting(pair={"name": NAME + "!", "models_file": named}, loads=False) as chat:
        await chat.until(lambda: isinstance(chat.app.screen, PairScreen))
        assert not RAW.search(chat.screen)
        assert chat.screen.count("\u241b]0;x\u2407\ufffd") > 2  # the error, the pair and its description
    async with chatting(small) as chat:
        await chat.app.conversation.note(NAME)
        await chat.app._pump.complain(GlimpError(NAME, hint=NAME))
        await chat.until(lambda: chat.screen.count("\u241b]0;x\u2407\ufffd") == 3)
        assert not RAW.search(chat.screen)


@played
async def test_no_widget_lets_anything_through(small: Path) -> None:
    async with chatting(small) as chat:
        await chat.app.conversation.mount(Static(Content(f"raw{NAME}\x9b|", strip_control_codes=False)))
        chat.app.composer.border_title = Content(f"raw{NAME}\x9b|", strip_control_codes=False)
        await chat.until(lambda: chat.screen.count("raw]0;x|") == 2)
        assert not RAW.search(chat.screen)


def test_markdown_s_own_spelling_of_characters_is_shown() -> None:
    tokens = parser().parse("a&#x202e;b&#13;c `&#x202e;` [d&#x2067;](http://e)\n\n> &#12;f\n\n|g&#x202d;|\n|-|\n|h|\n")
    said = "".join(child.content for token in tokens for child in token.children or ())
    assert said == "a\ufffdb\u240dc &#x202e; d\ufffd\u240cfg\ufffdh"
