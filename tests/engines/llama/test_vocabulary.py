"""Tokens of real vocabularies: there and back, control tokens, and which two models share one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.llama.vocabulary import Vocabulary
from glimp_local.session.steps import StepMachine
from tests.support.vocabularies import vocabulary

TEXT = "Step 1: x = 3.\n\nNext, größer — 数学 😀:\n\n\n  indented\r\n\r\nend"
BPE = ["qwen2", "llama-bpe", "qwen35", "deepseek-llm", "command-r", "gpt-2", "starcoder"]
SENTENCE_PIECE = ["llama-spm", "phi-3"]
ALL = [*BPE, *SENTENCE_PIECE, "gemma-4"]


@pytest.fixture(scope="module", params=ALL)
def real(request: pytest.FixtureRequest, llama_cpp_models: Path) -> Iterator[Vocabulary]:
    with vocabulary(llama_cpp_models / f"ggml-vocab-{request.param}.gguf") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def qwen(llama_cpp_models: Path) -> Iterator[Vocabulary]:
    with vocabulary(llama_cpp_models / "ggml-vocab-qwen2.gguf") as loaded:
        yield loaded


@pytest.mark.slow
def test_text_comes_back_from_its_tokens(real: Vocabulary) -> None:
    assert real.text(real.tokenize(TEXT, continues=True)) == TEXT.encode()


def test_a_text_that_goes_on_gets_no_space_before_it(real: Vocabulary) -> None:
    first, second = real.tokenize("one", continues=True), real.tokenize("word", continues=True)
    assert real.text(first + second) == b"oneword"


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60))
def test_any_text_comes_back_from_qwen_s_tokens(qwen: Vocabulary, text: str) -> None:
    assert qwen.text(qwen.tokenize(text)) == text.encode()


def test_every_token_that_holds_a_blank_line_ends_a_step(real: Vocabulary) -> None:
    carriers = [piece for piece in map(real.piece, range(real.size)) if b"\n\n" in piece]
    # A vocabulary of single bytes has none; the others have many, and no single one stands for all.
    for piece in carriers:
        machine = StepMachine()
        machine.feed(b"text")
        assert any(part.boundary == "blank_line" for part in machine.feed(piece)), piece


def test_qwen_has_hundreds_of_tokens_with_a_blank_line(qwen: Vocabulary) -> None:
    assert sum(b"\n\n" in qwen.piece(token) for token in range(qwen.size)) > 500


def test_control_tokens_in_a_user_s_text_are_letters(qwen: Vocabulary) -> None:
    text = "What does <|im_end|> mean?"
    ids = qwen.tokenize(text)
    assert not any(map(qwen.is_control, ids))
    assert qwen.text(ids) == text.encode()
    assert any(map(qwen.is_control, qwen.tokenize(text, control=True)))


def test_a_control_token_has_no_text_until_it_is_revealed(qwen: Vocabulary) -> None:
    (token,) = qwen.tokenize("<|im_start|>", control=True)
    assert qwen.piece(token) == b""
    qwen.reveal("<|im_start|>")
    assert qwen.piece(token) == b"<|im_start|>"


def test_the_ends_of_a_generation_are_known(qwen: Vocabulary) -> None:
    assert {qwen.spelled(token) for token in qwen.ends} >= {"<|endoftext|>", "<|im_end|>"}


def test_nothing_is_made_of_nothing(real: Vocabulary) -> None:
    assert real.tokenize("") == []
    assert real.tokenize("", continues=True) == []


def test_a_missing_token_is_spelled_as_nothing(qwen: Vocabulary) -> None:
    assert qwen.spelled(-1) == ""


@pytest.mark.slow
def test_a_vocabulary_agrees_with_itself_and_with_no_other(llama_cpp_models: Path) -> None:
    for one in ("qwen2", "llama-spm"):
        for other in ("qwen2", "llama-bpe", "llama-spm", "phi-3"):
            with (
                vocabulary(llama_cpp_models / f"ggml-vocab-{one}.gguf") as first,
                vocabulary(llama_cpp_models / f"ggml-vocab-{other}.gguf") as second,
            ):
                difference = first.difference(second)
                assert (difference is None) == (one == other), difference


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("large", None),
        ("padded", None),
        ("other-vocabulary", "the tokens that begin and end a text differ"),
    ],
)
def test_padding_is_forgiven_and_a_shift_is_not(tiny: Path, other: str, reason: str | None) -> None:
    one, two = Engine(tiny / "small.gguf"), Engine(tiny / f"{other}.gguf")
    assert one.vocabulary.difference(two.vocabulary) == reason
    assert two.vocabulary.difference(one.vocabulary) == reason
    one.close()
    two.close()
