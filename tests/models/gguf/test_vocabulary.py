"""Vocabularies made from headers: token by token what llama.cpp makes of the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glimp_local.models.gguf.header import read_header
from glimp_local.models.gguf.vocabulary import header_vocabulary
from glimp_local.models.sharing import Tokens, difference
from tests.engines.llama.test_vocabulary import ALL
from tests.support import headers
from tests.support.headers import Key, gguf_bytes, number, strings, text, u32, u64
from tests.support.vocabularies import vocabulary

BUILTIN = Path(__file__).parents[3] / "glimp_local" / "builtin"
TINY = ["small", "large", "padded", "other-vocabulary", "recurrent", "hybrid"]

ENDS = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "</s>",
    "<eos>",
    "[e~[",
]
OTHER = [
    "<|channel|>",
    "<|start|>",
    "<|tool_response>",
    "<unused7>",
    "<s>",
    "<unk>",
    "<|endoftext|>",
    "<pad>",
    "",
    "\n",
]
FILL_IN = ["<fim_prefix>", "<|fim_suffix|>", "<MID>", "[PAD]", "<|repo_name|>", "<|file_sep|>"]
WORDS = ["a", "b", "ab", "é", "ab unused"]
IDS = ["bos", "eos", "eot", "eom", "fim_pre", "prefix", "suffix", "middle", "fim_pad", "fim_rep", "fim_sep"]
KINDS = [
    *[
        ("gpt2", pre)
        for pre in ("llama-bpe", "qwen2", "gpt-2", "tekken", "glm4", "chatglm-bpe", "chameleon", "default")
    ],
    *[("llama", "default"), ("gemma4", "gemma4"), ("bert", "default")],
]


def facts(tokens: Tokens) -> dict[str, Any]:
    return {
        **{name: getattr(tokens, name) for name in ("kind", "size", "bos", "eos", "adds_bos", "ends")},
        "texts": [tokens.raw(token) for token in range(tokens.size)],
        "attributes": [tokens.attributes(token) for token in range(tokens.size)],
    }


def assert_alike(path: Path) -> None:
    found = header_vocabulary(read_header(path))
    assert found is not None
    with vocabulary(path) as loaded:
        assert facts(found) == facts(loaded)
        if found.is_shown:
            every = range(found.size)
            assert [found.shown([token]) for token in every] == [loaded.shown([token]) for token in every]
            assert found.shown(every) == loaded.shown(every)


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_model_s_vocabulary_is_llama_cpp_s(tiny: Path, name: str) -> None:
    assert_alike(tiny / f"{name}.gguf")


def test_the_built_in_models_vocabularies_are_llama_cpp_s() -> None:
    assert_alike(BUILTIN / "small.gguf")
    assert_alike(BUILTIN / "large.gguf")


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_published_vocabulary_is_llama_cpp_s(llama_cpp_models: Path, name: str) -> None:
    assert_alike(llama_cpp_models / f"ggml-vocab-{name}.gguf")


def test_a_published_model_s_vocabulary_is_llama_cpp_s(real_pair: tuple[Path, Path]) -> None:
    for path in real_pair:
        assert_alike(path)


@st.composite
def vocabularies(draw: st.DrawFn) -> bytes:
    """Make a vocabulary of tokens that llama.cpp goes by the text of, and of keys that name some of them."""
    tokens = draw(st.lists(st.sampled_from([*ENDS, *OTHER, *FILL_IN, *WORDS]), min_size=1, unique=True))
    # Phi-3's tokens are looked up by their text.
    phi = draw(st.booleans()) and {"<unk>", "<s>", "<|endoftext|>", "</s>"} <= set(tokens)
    model, pre = draw(st.sampled_from(KINDS))
    keys = [
        text("general.architecture", "llama"),
        text("general.name", "Phi-3 tiny" if phi else "tiny"),
        text("tokenizer.ggml.model", model),
        text("tokenizer.ggml.pre", pre),
        Key("tokenizer.ggml.tokens", headers.ARRAY, strings(tokens)),
        Key("tokenizer.ggml.merges", headers.ARRAY, strings(["a b"])),
    ]
    if draw(st.booleans()):
        # Not 6: llama.cpp takes the spelling of a byte apart.
        kinds = st.sampled_from([0, 1, 2, 3, 4, 5, 7])
        types = draw(st.lists(kinds, min_size=len(tokens), max_size=len(tokens)))
        values = u32(headers.I32) + u64(len(types)) + b"".join(map(u32, types))
        keys.append(Key("tokenizer.ggml.token_type", headers.ARRAY, values))
    ids = draw(st.dictionaries(st.sampled_from(IDS), st.integers(0, len(tokens) + 1), max_size=4))
    keys += [number(f"tokenizer.ggml.{name}_token_id", token) for name, token in ids.items()]
    if draw(st.booleans()):
        keys.append(Key("tokenizer.ggml.add_bos_token", headers.BOOL, bytes([draw(st.booleans())])))
    return gguf_bytes(keys)


@pytest.mark.slow
@settings(max_examples=300, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=vocabularies())
def test_whatever_a_header_says_the_vocabulary_is_llama_cpp_s(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vocabulary.gguf"
    path.write_bytes(content)
    assert_alike(path)


def test_two_models_share_a_vocabulary_by_their_headers_as_they_do_when_loaded(tiny: Path) -> None:
    paths = [*(tiny / f"{name}.gguf" for name in TINY), BUILTIN / "small.gguf", BUILTIN / "large.gguf"]
    verdicts = set()
    for one in paths:
        for other in paths:
            found = header_vocabulary(read_header(one)), header_vocabulary(read_header(other))
            assert found[0] is not None
            assert found[1] is not None
            with vocabulary(one) as first, vocabulary(other) as second:
                verdict = difference(found[0], found[1])
                assert verdict == first.difference(second), (one.name, other.name)
            verdicts.add(verdict)
    assert len(verdicts) > 2


def test_a_token_marked_otherwise_in_one_model_is_a_difference(tmp_path: Path) -> None:
    kinds = [(gguf.TokenType.NORMAL, gguf.TokenType.CONTROL), (gguf.TokenType.CONTROL, gguf.TokenType.CONTROL)]
    made = []
    for number_, (word, end) in enumerate(kinds):
        types = u32(headers.I32) + u64(2) + u32(word) + u32(end)
        path = tmp_path / f"{number_}.gguf"
        keys = [
            text("tokenizer.ggml.model", "gpt2"),
            Key("tokenizer.ggml.tokens", headers.ARRAY, strings(["word", "<|im_end|>"])),
            Key("tokenizer.ggml.token_type", headers.ARRAY, types),
        ]
        path.write_bytes(gguf_bytes(keys))
        made.append(header_vocabulary(read_header(path)))
    assert made[0] is not None
    assert made[1] is not None
    assert difference(made[0], made[1]) == "token 0 ('word') has different attributes"
    assert difference(made[0], made[0]) is None


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [text("tokenizer.ggml.model", "none")],
        [text("tokenizer.ggml.model", "of-tomorrow"), Key("tokenizer.ggml.tokens", headers.ARRAY, strings(["a"]))],
        [text("tokenizer.ggml.model", "gpt2"), text("tokenizer.ggml.tokens", "a")],
        [
            text("tokenizer.ggml.model", "gpt2"),
            Key("tokenizer.ggml.tokens", headers.ARRAY, u32(headers.U32) + u64(1) + u32(7)),
        ],
    ],
)
def test_a_model_without_a_known_vocabulary_has_none(tmp_path: Path, keys: list[Key]) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes(keys))
    assert header_vocabulary(read_header(path)) is None
