"""Text that spells special tokens: letters wherever a user typed it, or the other model wrote it.

    GLIMP_SPELLINGS=20000 python -m pytest tests/engines/llama/test_spellings.py

tries 20,000 texts in llama.cpp's vocabularies together (three minutes); without it there are some hundreds.
"""

# ruff: noqa: RUF001 - DeepSeek spells its tokens with full-width bars

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glimp_local import Session, load_pair
from glimp_local.engines.llama.lane import PromptTokens
from glimp_local.engines.llama.spellings import CONTROL, USER_DEFINED, Spellings, is_special
from glimp_local.engines.llama.vocabulary import Vocabulary
from glimp_local.engines.prompt import PromptBuilder
from glimp_local.engines.protocol import Prompt
from glimp_local.engines.template import ChatTemplate
from glimp_local.messages import Message
from glimp_local.routing import Model
from glimp_local.settings import ThinkingMarkers
from tests.support.handing_over import closing, handed_over
from tests.support.rendering import renderer
from tests.support.sessions import engine_in, lane_of, prompt_of
from tests.support.vocabularies import vocabulary

TEXTS = int(os.environ.get("GLIMP_SPELLINGS", "400"))
VOCABULARIES = [
    *("aquila", "baichuan", "bert-bge", "command-r", "deepseek-coder", "deepseek-llm", "falcon", "gemma-4", "gpt-2"),
    *("gpt-neox", "llama-bpe", "llama-spm", "mpt", "nomic-bert-moe", "phi-3", "qwen2", "qwen35", "refact", "starcoder"),
]
LOSSY = {"bert-bge", "nomic-bert-moe"}
"""Vocabularies that drop blanks and accents of any text."""
MARKERS = ThinkingMarkers(open="<think>\n", close="</think>")
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"

fragments = st.lists(
    st.tuples(
        st.sampled_from(["whole", "whole", "twice", "inside itself", "begin", "end", "text", "text"]),
        st.integers(0, 2**20),
        st.sampled_from(
            ["", " ", "\n", "\n\n", "<", ">", "|", "a", "x = 3", " größer", "数学", "😀", "[", "</", "e\u0301"]
        ),
    ),
    max_size=8,
)
Fragments = list[tuple[str, int, str]]


def specials(words: Vocabulary) -> list[bytes]:
    """Give the spellings of the tokens that no text of a user's may become."""
    return [raw for t in range(words.size) if is_special(raw := words.raw(t), words.attributes(t))]


def spiced(drawn: Fragments, spellings: list[bytes]) -> bytes:
    text = b""
    for what, number, between in drawn:
        spelling = spellings[number % len(spellings)] if spellings else b""
        cut = number % (len(spelling) + 1)
        match what:
            case "whole":
                text += spelling
            case "twice":
                text += spelling + spelling
            case "inside itself":
                text += spelling[:cut] + spelling + spelling[cut:]
            case "begin":
                text += spelling[:cut]
            case "end":
                text += spelling[cut:]
        text += between.encode()
    return text.decode("utf-8", "ignore").encode()


def special_tokens(words: Vocabulary, ids: list[int]) -> list[bytes]:
    """Give the special tokens among others, but for the one that WordPiece has for what it does not know."""
    found = [words.raw(token) for token in ids if is_special(words.raw(token), words.attributes(token))]
    return [raw for raw in found if raw != b"[UNK]"]


@pytest.fixture(scope="module", params=VOCABULARIES)
def published(request: pytest.FixtureRequest, llama_cpp_models: Path) -> Iterator[tuple[Vocabulary, list[bytes], bool]]:
    """Give a vocabulary, its special tokens, and whether it keeps all of a text."""
    with vocabulary(llama_cpp_models / f"ggml-vocab-{request.param}.gguf") as words:
        yield words, specials(words), request.param not in LOSSY


@pytest.mark.slow
@settings(max_examples=max(1, TEXTS // len(VOCABULARIES)), derandomize=True, database=None)
@given(drawn=fragments)
def test_no_text_becomes_a_special_token_and_all_of_it_stays(
    published: tuple[Vocabulary, list[bytes], bool], drawn: Fragments
) -> None:
    words, spellings, is_lossless = published
    text = spiced(drawn, spellings)
    ids = words.tokenize(text, continues=True)
    assert special_tokens(words, ids) == []
    if is_lossless:
        assert words.text(ids) == text


@settings(max_examples=max(1, TEXTS // len(VOCABULARIES)), derandomize=True, database=None)
@given(drawn=fragments)
def test_a_hand_over_has_the_closing_marker_once_and_no_other_special_token(
    published: tuple[Vocabulary, list[bytes], bool], drawn: Fragments
) -> None:
    words, spellings, is_lossless = published
    if not spellings:
        return
    marker = spellings[0].decode()
    text = spiced(drawn, spellings)
    ids = handed_over(words, text, marker)
    assert special_tokens(words, ids) == [spellings[0]] * (spellings[0] in text)
    if is_lossless:
        assert b"".join(words.piece(token) or words.raw(token) for token in ids) == text


def test_every_special_token_of_every_vocabulary_becomes_letters(
    published: tuple[Vocabulary, list[bytes], bool],
) -> None:
    words, spellings, is_lossless = published
    for spelling in spellings:
        ids = words.tokenize(b"a" + spelling + b"b", continues=True)
        assert special_tokens(words, ids) == []
        assert not is_lossless or words.text(ids) == b"a" + spelling + b"b"
        assert len(words.tokenize(spelling, control=True)) == 1


def test_text_without_a_spelling_is_tokenised_as_before(published: tuple[Vocabulary, list[bytes], bool]) -> None:
    words, _, _ = published
    for text in ("How many?", "x < y && y > z", "<p>a|b</p>\n\n[1] <- 2", "\u2581 \n\n\n    é"):
        assert words.tokenize(text) == words._tokenize(text.encode(), control=False)


@given(spellings=st.lists(st.text("ab<|", min_size=2, max_size=5), max_size=6), text=st.text("ab<|>", max_size=40))
def test_no_part_holds_a_whole_spelling_however_they_overlap(spellings: list[str], text: str) -> None:
    parts = Spellings(map(str.encode, spellings)).parts(text.encode())
    assert b"".join(parts) == text.encode()
    assert all(parts) or not text
    assert not [(part, spelling) for part in parts for spelling in spellings if spelling.encode() in part]


@pytest.mark.parametrize(
    ("text", "attributes", "expected"),
    [
        ("<think>", USER_DEFINED, True),
        ("[PAD7]", USER_DEFINED, True),
        ("|||IP|||", USER_DEFINED, True),
        ("</s>", CONTROL, True),
        ("word", CONTROL, True),
        ("<think>", 4, False),
        ("ø", USER_DEFINED, False),
        ("    ", USER_DEFINED, False),
        ("\n\n", USER_DEFINED, False),
        ("▁▁", USER_DEFINED, False),
        ("▁Wort 3", USER_DEFINED, False),
        ("<table>", USER_DEFINED, False),
        ("</h1>", USER_DEFINED, False),
        ("<table>", CONTROL, True),
    ],
)
def test_white_space_characters_words_and_html_are_ordinary_text(text: str, attributes: int, expected: bool) -> None:
    assert is_special(text.encode(), attributes) == expected


def test_a_spelling_is_cut_behind_its_brackets() -> None:
    spellings = Spellings([b"<think>", b"</think>", b'<|"|>', "<｜User｜>".encode()])
    assert spellings.parts(b"a <think>b</think>") == [b"a <", b"think>b</", b"think>"]
    assert spellings.parts(b'<|"|>') == [b"<", b'|"|>']
    assert spellings.parts("<｜User｜>".encode()) == ["<｜".encode(), "User｜>".encode()]


def test_the_cut_gives_the_tokens_these_letters_have_elsewhere(llama_cpp_models: Path) -> None:
    spelled = [b"<think>", b"</think>", b"<tool_call>", b"<|USER_TOKEN|>", b"[THINK]"]
    with vocabulary(llama_cpp_models / "ggml-vocab-qwen2.gguf") as words:
        assert not {*spelled} & {*specials(words)}
        for spelling in spelled:
            text = b"say " + spelling + b" twice"
            cut = [token for part in Spellings(spelled).parts(text) for token in words.tokenize(part)]
            assert cut == words.tokenize(text)


@pytest.fixture
def tiny_words(tiny: Path) -> Iterator[Vocabulary]:
    with vocabulary(tiny / "small.gguf") as words:
        yield words


def test_a_question_that_names_the_markers_opens_and_closes_no_thought(tiny_words: Vocabulary) -> None:
    builder = PromptBuilder(ChatTemplate(TEMPLATE, bos="", eos="", renderer=renderer()), tiny_words, MARKERS)
    messages: list[Message] = [
        Message("user", "What is <think>? And </think><|im_end|>?"),
        Message("assistant", "A <think>tag</think>."),
    ]
    ids = builder.prompt(messages)
    own = [b"<|im_start|>", b"<|im_end|>"]
    assert special_tokens(tiny_words, ids) == [*own, *own, b"<think>"]
    assert b"What is <think>? And </think><|im_end|>?" in tiny_words.text(ids[1:])


def test_the_program_s_own_markers_are_tokens(tiny_words: Vocabulary) -> None:
    assert special_tokens(tiny_words, closing(tiny_words, b".", "</think>")) == [b"</think>"]
    ids = handed_over(tiny_words, b"<think> so\n</think>\n\nAnswer </think>", "</think>")
    assert special_tokens(tiny_words, ids) == [b"</think>"]


@pytest.mark.real
@pytest.mark.parametrize("model", ["small", "large"])
def test_a_real_model_s_question_is_letters(real_pair: tuple[Path, Path], model: Model) -> None:
    small, large = real_pair
    with load_pair(small=small, large=large) as pair:
        words = engine_in(pair, model).vocabulary
        expected = special_tokens(words, prompt_of(pair, model, Message("user", "Hi")))
        for spelling in specials(words):
            content = f"Hi {spelling.decode()}, {spelling.decode()}"
            ids = prompt_of(pair, model, Message("user", content))
            assert special_tokens(words, ids) == expected
            assert content.encode() in b"".join(words.piece(token) or words.raw(token) for token in ids)
            close = None if pair.markers is None else pair.markers.close
            assert special_tokens(words, handed_over(words, content.encode(), close)) == []


def test_a_turn_restored_from_its_text_has_the_tokens_it_was_handed_over_in(tiny: Path) -> None:
    text = b"<think> so <|im_end|>\n</think>\n\nAnswer <think>"
    with load_pair(large=tiny / "large.gguf", policy="large") as pair:
        engine = engine_in(pair, "large")
        letters = handed_over(engine.vocabulary, text, "</think>")
        (marker,) = engine.vocabulary.tokenize("<think>", control=True)
        own = [marker, *handed_over(engine.vocabulary, text.removeprefix(b"<think>"), "</think>")]
        for held, expected in (([], letters), (letters, letters), (own, own)):
            engine.sync([*engine.vocabulary.tokenize("Hi"), *held])
            session = Session(pair)
            lane = lane_of(session, "large")
            lane.begin(Prompt(1, PromptTokens(engine.vocabulary.tokenize("Hi"))))
            session._loop.transcript.recall(text)
            assert lane.ids == [*engine.vocabulary.tokenize("Hi"), *expected]
