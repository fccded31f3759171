"""Whatever bytes a file holds, `glimp models info` tells what it is or refuses it in words, soon and in little memory.

    GLIMP_FUZZ_CASES=10000 python -m pytest tests/models/gguf/test_fuzzed_headers.py

tries 10,000 files (two minutes); without it there are 1,000. They are always the same.
"""

from __future__ import annotations

import json
import os
import resource
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from glimp_local.cli import cli, terminal
from glimp_local.models.gguf.header import read_header
from glimp_local.models.gguf.tensor_types import TENSOR_TYPES
from tests.support import headers
from tests.support.headers import Key, Matrix, gguf_bytes, string, strings, u32, u64

pytestmark = pytest.mark.fuzz
CASES = int(os.environ.get("GLIMP_FUZZ_CASES", "1000"))
BUILTIN = Path(__file__).parents[3] / "glimp_local" / "builtin"
BASES = ["small", "no-template", "hybrid", "recurrent", "builtin"]
MOST_SECONDS = 5  # of a machine that does other things, too; a case takes some milliseconds
MOST_BYTES = 200_000_000

fuzzed = settings(
    max_examples=CASES // 2,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

EXTREMES = [2**7, 2**8 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**60, 2**62, 2**63, 2**64 - 1]
numbers = st.one_of(st.integers(0, 40), st.sampled_from(EXTREMES), st.integers(0, 2**64 - 1))
NASTY = ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\u202e", "a\nb", "\0", b"\xed\xa0\xbd", b"\xff", "a" * 5000]
texts: st.SearchStrategy[str | bytes] = st.one_of(
    st.sampled_from([*NASTY, "llama", "qwen3", "gpt2", "", "<think>", "<|im_end|>"]), st.binary(max_size=8)
)
seldom = st.integers(0, 19).map(lambda number: number == 0)


@st.composite
def values(draw: st.DrawFn, depth: int = 0) -> tuple[int, bytes]:
    """Draw a value of the metadata of any kind: right, too long, too short or of no kind there is."""
    kind = draw(st.integers(0, 13))
    if kind == headers.STRING:
        return kind, string(draw(texts), draw(numbers) if draw(seldom) else None)
    if kind == headers.ARRAY and draw(st.booleans()):
        return kind, strings(draw(st.lists(texts, max_size=5)), draw(numbers) if draw(seldom) else None)
    if kind == headers.ARRAY:
        inner, value = draw(values(depth=depth + 1)) if depth < 3 else (headers.U32, b"")
        return kind, u32(inner) + u64(draw(numbers) if draw(seldom) else 1) + value
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1}
    return kind, u64(draw(numbers))[: sizes.get(kind, 8)]


TEXTS = [f"general.{name}" for name in ("architecture", "name", "basename", "organization", "license")]
TEXTS += ["tokenizer.chat_template", "tokenizer.ggml.model", "tokenizer.ggml.pre"]
LISTS = ["tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.token_type"]
NUMBERS = ["general.alignment", "general.file_type", "split.count", "split.no", "tokenizer.ggml.eos_token_id"]
NUMBERS += [f"llama.{name}" for name in ("block_count", "context_length", "embedding_length", "expert_count")]
NUMBERS += [f"llama.{name}" for name in ("expert_used_count", "attention.head_count", "attention.head_count_kv")]
NUMBERS += [f"llama.{name}" for name in ("feed_forward_length", "expert_feed_forward_length", "attention.key_length")]
NUMBERS += [f"llama.{name}" for name in ("attention.sliding_window", "ssm.inner_size", "ssm.state_size")]
BLOCKS = "llama.block_count", 3
TENSORS = ["token_embd.weight", "ffn_up_exps.weight", "attn_k.weight", "attn_qkv.weight", "ssm_in.weight"]


@st.composite
def keys(draw: st.DrawFn) -> list[Key]:
    """Draw keys that are read, most of them of the right kind, and others."""
    found = {}
    is_whole = draw(st.booleans())  # says all that its memory hangs on
    names = draw(st.lists(st.sampled_from([*TEXTS, *LISTS, *NUMBERS]), max_size=12, unique=True))
    for name in dict.fromkeys([*names, *(name for name in NUMBERS if is_whole and name.startswith("llama."))]):
        if name in TEXTS:
            found[name] = Key(name, headers.STRING, string(draw(texts)))
        elif name in LISTS and draw(st.booleans()):
            found[name] = Key(name, headers.ARRAY, strings(draw(st.lists(texts, max_size=5))))
        elif name in LISTS:
            members = draw(st.lists(st.integers(0, 2**32 - 1), max_size=5))
            found[name] = Key(name, headers.ARRAY, u32(headers.U32) + u64(len(members)) + b"".join(map(u32, members)))
        else:
            found[name] = headers.number(name, draw(numbers) % 2**32)
        if draw(seldom):
            found[name] = Key(name, *draw(values()))
    if is_whole:
        kind = draw(st.sampled_from(["gpt2", "llama"]))
        sound = [headers.ARCHITECTURE, headers.text("tokenizer.ggml.model", kind), headers.number(*BLOCKS)]
        found |= {str(key.name): key for key in sound}
    if draw(st.integers(0, 4)) == 0:
        return [*found.values(), Key(draw(texts), *draw(values()))]
    return list(found.values())


@st.composite
def matrices(draw: st.DrawFn) -> list[Matrix]:
    """Draw tensors, one behind the other as they should be, or anywhere and of any size."""
    found, end = [], 0
    for number in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(list(TENSOR_TYPES)))
        type_ = TENSOR_TYPES[kind]
        rows = draw(st.integers(0, 9))
        name = f"blk.{number}.{draw(st.sampled_from(TENSORS))}".removeprefix("blk.0.")
        if draw(seldom):
            shape = tuple(draw(st.lists(numbers, max_size=5)))
            found.append(Matrix(draw(texts), shape, draw(numbers) % 2**32, draw(numbers)))
        else:
            found.append(Matrix(name, (type_.values, rows), kind, end))
        end += -(-rows * type_.size_bytes // 32) * 32
    return found


@st.composite
def structured(draw: st.DrawFn) -> bytes:
    """Draw a file of the right form with any content: counts, keys, values, tensors."""
    return gguf_bytes(
        draw(keys()),
        draw(matrices()),
        version=draw(st.sampled_from([0, 1, 2, 4, 3 << 24])) if draw(seldom) else 3,
        key_count=draw(numbers) if draw(seldom) else None,
        tensor_count=draw(numbers) if draw(seldom) else None,
        data=draw(st.sampled_from([32, 4096])) if draw(seldom) else 100_000,
    )


pieces = st.one_of(numbers.map(u64), numbers.map(lambda number: u32(number % 2**32)), st.binary(min_size=1, max_size=6))
WAYS = ["overwrite", "insert", "delete", "repeat", "end", "flip", "flip", "flip"]
changes = st.lists(
    st.tuples(st.sampled_from(WAYS), st.integers(0, 2**32), st.booleans(), pieces), min_size=1, max_size=4
)
Change = tuple[str, int, bool, bytes]


def changed(header: bytes, how: list[Change]) -> bytes:
    """Damage a header, half of the times near its beginning, where more hangs on each byte."""
    damaged = bytearray(header)
    for what, where, is_early, piece in how:
        at = where % (min(len(damaged), 1000 if is_early else len(damaged)) or 1)
        match what:
            case "overwrite":
                damaged[at : at + len(piece)] = piece
            case "insert":
                damaged[at:at] = piece
            case "delete":
                del damaged[at : at + len(piece)]
            case "repeat":
                damaged[at:at] = damaged[at : at + 10 * len(piece)]
            case "end":
                del damaged[at:]
            case "flip":
                damaged[at : at + 1] = bytes(byte ^ piece[0] for byte in damaged[at : at + 1])
    return bytes(damaged)


@pytest.fixture(scope="module")
def bases(tiny: Path) -> list[tuple[bytes, int]]:
    """Give the headers of whole models, and the size of what follows them."""
    found = []
    for name in BASES:
        path = BUILTIN / "small.gguf" if name == "builtin" else tiny / f"{name}.gguf"
        size = sum(tensor.size_bytes for tensor in read_header(path).tensors)
        content = path.read_bytes()
        found.append((content[:-size], size))
    return found


commands = st.sampled_from(["info", "info", "info --json", "compare"])


@contextmanager
def little_memory() -> Iterator[None]:
    """Let what runs inside take so much memory and no more (on Linux: elsewhere nothing says how much is taken)."""
    if not Path("/proc/self/statm").exists():
        yield
        return
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def assert_told(path: Path, command: str) -> int:
    """Run a command on a file; give its exit code."""
    began = time.perf_counter()
    arguments = [*command.split(), str(path), *([str(BUILTIN / "small.gguf")] if command == "compare" else [])]
    with little_memory(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(terminal, "is_terminal", lambda: True)
        result = CliRunner().invoke(cli, ["models", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in {0, 3}
    assert time.perf_counter() - began < MOST_SECONDS
    steering = [char for char in result.output if unicodedata.category(char) == "Cc" and char != "\n"]
    assert not steering, result.output
    if result.exit_code:
        assert result.stderr.startswith("glimp: ")
        assert len(result.stderr) < 2000
    elif command == "info --json":
        assert json.loads(result.stdout)["architecture"] is not None
    else:
        assert len(result.stdout.splitlines()) > 8
    return result.exit_code


@fuzzed
@given(how=changes, base=st.integers(0, len(BASES) - 1), command=commands)
def test_a_damaged_model_is_told_or_refused_in_words(
    bases: list[tuple[bytes, int]], tmp_path: Path, how: list[Change], base: int, command: str
) -> None:
    header, size = bases[base]
    path = tmp_path / "damaged.gguf"
    path.write_bytes(changed(header, how))
    os.truncate(path, path.stat().st_size + size)  # the weights are a hole
    event(f"exit code {assert_told(path, command)}")


@fuzzed
@given(content=structured(), command=commands)
def test_a_file_of_any_content_is_told_or_refused_in_words(tmp_path: Path, content: bytes, command: str) -> None:
    path = tmp_path / "any.gguf"
    path.write_bytes(content)
    event(f"exit code {assert_told(path, command)}")


def test_an_undamaged_model_is_told(bases: list[tuple[bytes, int]], tmp_path: Path) -> None:
    for header, size in bases:
        path = tmp_path / "whole.gguf"
        path.write_bytes(header)
        os.truncate(path, len(header) + size)
        assert [assert_told(path, command) for command in ("info", "info --json", "compare")] == [0, 0, 0]
