"""Models on which llama.cpp ends the process: refused in a sentence, by what their headers say.

    GLIMP_MUTATIONS=3000 python -m pytest tests/models/gguf/test_fatal.py

changes 3,000 headers at random (five minutes) and loads what is not refused; without it there are 60. They are always
the same.
"""

from __future__ import annotations

import copy
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import ModelUnreadableError
from glimp_local.models.gguf.fatal import refuse_fatal
from glimp_local.models.gguf.header import read_header
from tests.support.commands import Glimp
from tests.support.headers import ARRAY, STRING, u32
from tests.support.mutations import Key, Matrix, Model, Mutator, take_apart
from tests.support.survivors import ends

MUTATIONS = int(os.environ.get("GLIMP_MUTATIONS", "60"))
BUILTIN = Path(__file__).parents[3] / "glimp_local" / "builtin" / "small.gguf"
BASES = ["attention", "sliding-window", "recurrent", "hybrid", "builtin"]

Change = Callable[[Model], None]


def key(model: Model, name: str) -> Key:
    return next(key for key in model.keys if key.name == name.encode())


def matrix(model: Model, name: str) -> Matrix:
    return next(matrix for matrix in model.matrices if matrix.name == name.encode())


def number(name: str, value: int) -> Change:
    return lambda model: put(model, Key(name.encode(), 4, u32(value)))


def text(name: str, value: str) -> Change:
    return lambda model: put(model, Key(name.encode(), STRING, value.encode()))


def real(name: str, value: float) -> Change:
    return lambda model: put(model, Key(name.encode(), 6, struct.pack("<f", value)))


def numbers(name: str, *values: int) -> Change:
    return lambda model: put(model, Key(name.encode(), ARRAY, b"", 4, list(map(u32, values))))


def put(model: Model, new: Key) -> None:
    model.keys = [*(key for key in model.keys if key.name != new.name), new]


def token(number: int, value: bytes) -> Change:
    def change(model: Model) -> None:
        key(model, "tokenizer.ggml.tokens").members[number] = value

    return change


def kind(name: str, number: int) -> Change:
    def change(model: Model) -> None:
        matrix(model, name).kind = number

    return change


def called(architecture: str) -> Change:
    """Take the model for one of another architecture, whose tensors have the same names."""

    def change(model: Model) -> None:
        own = key(model, "general.architecture")
        for other in model.keys:
            other.name = other.name.replace(own.value + b".", architecture.encode() + b".")
        own.value = architecture.encode()

    return change


def both(*changes: Change) -> Change:
    def change(model: Model) -> None:
        for one in changes:
            one(model)

    return change


def wider(*, heads: int, kv_heads: int, width: int) -> Change:
    """Give the attention other heads, in numbers and tensors alike."""

    def change(model: Model) -> None:
        for name, value in (("head_count", heads), ("head_count_kv", kv_heads)):
            number(f"llama.attention.{name}", value)(model)
        for name in ("key_length", "value_length"):
            number(f"llama.attention.{name}", width)(model)
        for layer in range(2):
            matrix(model, f"blk.{layer}.attn_q.weight").shape = [64, heads * width]
            matrix(model, f"blk.{layer}.attn_k.weight").shape = [64, kv_heads * width]
            matrix(model, f"blk.{layer}.attn_v.weight").shape = [64, kv_heads * width]
            matrix(model, f"blk.{layer}.attn_output.weight").shape = [heads * width, 64]

    return change


def endless(model: Model) -> None:
    """Leave an RWKV vocabulary a token that begins with a byte which is no token."""
    text("tokenizer.ggml.model", "rwkv")(model)
    members = key(model, "tokenizer.ggml.tokens").members
    members[:] = [b"\\x%02x" % i if i != ord("W") else b"Wxyz" for i in range(256)] + members[256:]


FATAL: dict[str, tuple[str, Change, str]] = {
    "two equal tokens": ("attention", token(7, b"a"), "are the same text"),
    "two tokens equal up to a zero byte": ("attention", token(7, b"a\0b"), "are the same text"),
    "an empty token called as another": ("attention", both(token(7, b""), token(8, b"[EMPTY_7]")), "the same text"),
    "no vocabulary": ("attention", text("tokenizer.ggml.model", "none"), "no vocabulary"),
    "SentencePiece without bytes": ("attention", text("tokenizer.ggml.model", "llama"), "no token for the byte 0x"),
    "RWKV that never ends": ("attention", endless, "begin with the byte 0x57, but none for the byte alone"),
    "a pre-tokenizer of another tokenizer": ("attention", text("tokenizer.ggml.pre", "whitespace"), "whitespace"),
    "no layers": ("attention", number("llama.block_count", 0), "0 layers"),
    "more extra layers than layers": ("attention", number("llama.nextn_predict_layers", 9), "9 of its 2 layers"),
    "a rope scaling there is none of": ("attention", text("llama.rope.scaling.type", "round"), "'round'"),
    "a negative epsilon": ("attention", real("llama.attention.layer_norm_rms_epsilon", -1), "epsilon is -1.0"),
    "an epsilon that is no number": (
        "attention",
        real("llama.attention.layer_norm_rms_epsilon", float("nan")),
        "epsilon is nan",
    ),
    "experts used and none there": ("attention", number("llama.expert_used_count", 2), "uses 2 of 0 experts"),
    "a negative number of experts used": (
        "attention",
        both(number("llama.expert_count", 2), numbers("llama.expert_used_count", 0, 2**32 - 1)),
        "uses 4,294,967,295 of 2 experts",
    ),
    "experts and none used": ("attention", number("llama.expert_count", 2), "uses 0 of 2 experts"),
    "groups of no experts": ("attention", number("llama.expert_group_count", 3), "3 groups of 0 experts"),
    "too many experts": (
        "attention",
        both(number("llama.expert_count", 1025), number("llama.expert_used_count", 1)),
        "1,025 experts",
    ),
    "an architecture of experts without": ("attention", called("smallthinker"), "no experts"),
    "a group of all groups": (
        "attention",
        both(
            *(number(f"llama.expert_{name}", value) for name, value in (("count", 8), ("used_count", 2))),
            *(number(f"llama.expert_group_{name}", value) for name, value in (("count", 4), ("used_count", 4))),
        ),
        "uses 4 of 4 groups",
    ),
    "heads that share no keys": ("attention", wider(heads=3, kv_heads=2, width=16), "3 heads share the keys of 2"),
    "an odd head": ("attention", wider(heads=2, kv_heads=1, width=7), "rotates 7 numbers"),
    "more rotated than there is": ("sliding-window", number("gemma2.rope.dimension_count", 18), "rotates 18 numbers"),
    "sections of nothing": (
        "attention",
        both(called("paddleocr"), numbers("paddleocr.rope.dimension_sections", 0, 0, 0, 0)),
        "sections of no",
    ),
    "a window for no layer": (
        "sliding-window",
        numbers("gemma2.attention.sliding_window_pattern", 0, 0),
        "no layer that uses it",
    ),
    "an empty pattern of windows": (
        "sliding-window",
        numbers("gemma2.attention.sliding_window_pattern"),
        "no layer that uses it",
    ),
    "a period without windows": (
        "sliding-window",
        number("gemma2.attention.sliding_window_pattern", 1),
        "no layer that uses it",
    ),
    "a norm of halves": ("attention", kind("output_norm.weight", 1), "'output_norm.weight' is of type F16"),
    "a convolution of halves": ("hybrid", kind("blk.0.shortconv.conv.weight", 1), "of type F16, not F32"),
    "a state of halves": ("recurrent", kind("blk.1.ssm_d", 1), "of type F16, not F32"),
    "weights of doubles": ("attention", kind("blk.0.ffn_up.weight", 28), "is of type F64"),
    "weights of intermediate results": ("attention", kind("blk.0.ffn_up.weight", 9), "is of type Q8_1"),
}
"""Changes, each to one of the tiny models, and words of what is said of them."""


@pytest.fixture(scope="module")
def models(tiny: Path) -> dict[str, Model]:
    paths = {name: BUILTIN if name == "builtin" else tiny / f"{name}.gguf" for name in BASES}
    return {name: take_apart(path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def fatal(models: dict[str, Model], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the models that llama.cpp does not survive; give their paths."""
    folder, found = tmp_path_factory.mktemp("fatal"), {}
    for name, (base, change, _) in FATAL.items():
        model = copy.deepcopy(models[base])
        change(model)
        found[name] = folder / f"{name.replace(' ', '-')}.gguf"
        found[name].write_bytes(model.spelled())
    return found


@pytest.mark.parametrize("name", FATAL)
def test_what_llama_cpp_would_die_of_is_refused_in_a_sentence(fatal: dict[str, Path], name: str) -> None:
    with pytest.raises(ModelUnreadableError) as caught:
        Engine(fatal[name])
    assert caught.value.exit_code == 3
    assert FATAL[name][2] in str(caught.value)
    assert str(fatal[name]) in str(caught.value)
    assert str(caught.value).endswith("and llama.cpp would crash on that")
    assert caught.value.hint


@pytest.mark.slow
def test_llama_cpp_dies_of_every_one_of_them(fatal: dict[str, Path]) -> None:
    found = dict(zip(fatal, ends(list(fatal.values()), unchecked=True), strict=True))
    assert {name: end for name, end in found.items() if end.startswith("exit")} == {}


def test_a_model_put_together_again_is_the_same_model(models: dict[str, Model], tiny: Path, tmp_path: Path) -> None:
    for name, model in models.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(model.spelled())
        whole = read_header(BUILTIN if name == "builtin" else tiny / f"{name}.gguf")
        assert read_header(path).tensors == whole.tensors
        refuse_fatal(whole)


def test_published_vocabularies_are_not_refused(llama_cpp_models: Path) -> None:
    for path in sorted(llama_cpp_models.glob("*.gguf")):
        refuse_fatal(read_header(path))


@pytest.mark.real
def test_published_models_are_not_refused(real_pair: tuple[Path, Path]) -> None:
    for path in real_pair:
        refuse_fatal(read_header(path))


def test_info_refuses_it_with_exit_code_3(glimp: Glimp, fatal: dict[str, Path]) -> None:
    for options in ([], ["--json"]):
        result = glimp("models", "info", fatal["two equal tokens"], *options)
        assert (result.code, result.out) == (3, "")
        assert "its tokens 7 and 64 are the same text, and llama.cpp would crash on that" in result.err
        assert "hint: " in result.err


def test_solve_refuses_it_with_exit_code_3(glimp: Glimp, fatal: dict[str, Path]) -> None:
    path = fatal["a negative epsilon"]
    result = glimp("solve", "--text", "How many?", "--large", path, "--policy", "large")
    assert (result.code, result.out) == (3, "")
    assert "llama.cpp would crash on that" in result.err


@pytest.mark.fuzz
def test_a_model_changed_at_random_is_run_or_refused(models: dict[str, Model], tmp_path: Path) -> None:
    paths, changes = [], []
    for seed in range(MUTATIONS):
        model, mutator = copy.deepcopy(models[BASES[seed % len(BASES)]]), Mutator(seed)
        changes.append([mutator.change(model) for _ in range(1 + seed % 3)])
        paths.append(tmp_path / f"{seed}.gguf")
        paths[-1].write_bytes(model.spelled())
    found = [end for start in range(0, MUTATIONS, 500) for end in ends(paths[start : start + 500])]
    unlike = [end for end in found if end not in {"exit 0", "exit 1", "exit 2", "exit 3"}]
    assert [(end, changes[i]) for i, end in enumerate(found) if end in unlike] == []
    assert found.count("exit 0") >= MUTATIONS // 10
