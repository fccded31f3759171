"""Headers of whole models with something in them changed: a value, a type, a length, a text, a name, a shape.

What comes out is spelled right, so that most of it gets past a reader that knows the format alone: a checksum that says
how well a header is looked at before llama.cpp is given the file.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path

import msgspec

from glimp_local.models.gguf.tensor_types import TENSOR_TYPES
from tests.support.headers import ARRAY, STRING, string, u32, u64

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
FLOATS = {6, 12}
NUMBERS = [0, 1, 2, 3, 7, 16, 64, 255, 256, 512, 513, 1000, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63]
REALS = [0.0, -1.0, 1e-30, 1e30, float("inf"), float("nan")]
TEXTS = [b"", b"\0", b"\xff", b"\xc3", b"a", b"\n", b" ", b"x" * 2000, b"<unk>", b"<s>", b"</s>", b"<|im_end|>"]
ADDED_TEXTS = {
    "tokenizer.ggml.model": [b"gpt2", b"llama", b"bert", b"t5", b"rwkv", b"plamo2", b"gemma4", b"none", b"no_vocab"],
    "tokenizer.ggml.pre": [b"default", b"qwen2", b"gpt-2", b"tekken", b"kimi-k2", b"gemma4", b"youtu", b"no such"],
    "general.architecture": [b"llama", b"qwen2", b"gemma", b"mamba2", b"bert", b"t5", b"clip", b"phi3", b"no such"],
    "general.name": [b"phi-3", b"x" * 600],
    "rope.scaling.type": [b"none", b"linear", b"yarn", b"longrope", b"no such"],
}
ADDED_NUMBERS = [
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "attention.key_length",
    "attention.value_length",
    "attention.head_count_kv",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.causal",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.scale",
    "expert_count",
    "expert_used_count",
    "expert_group_count",
    "expert_group_used_count",
    "expert_weights_scale",
    "embedding_length_out",
    "nextn_predict_layers",
    "pooling_type",
    "vocab_size",
    "logit_scale",
    "residual_scale",
    "embedding_scale",
    "final_logit_softcapping",
    "ssm.conv_kernel",
    "ssm.inner_size",
    "ssm.state_size",
    "ssm.time_step_rank",
    "ssm.group_count",
    "ssm.dt_b_c_rms",
    "shortconv.l_cache",
    "use_parallel_residual",
]
ADDED_TOKENS = ["bos", "eos", "eot", "eom", "unknown", "padding", "seperator", "mask", "fim_pre", "fim_suf", "fim_pad"]
ADDED_LISTS = [
    "rope.dimension_sections",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.sliding_window_pattern",
    "feed_forward_length",
    "expert_used_count",
    "classifier.output_labels",
    "swiglu_clamp_exp",
]
ADDED_ARRAYS = ["tokenizer.ggml.scores", "tokenizer.ggml.suppress_tokens", "tokenizer.ggml.precompiled_charsmap"]


class Key(msgspec.Struct):
    name: bytes
    kind: int
    value: bytes
    """Of a text, what it says; of an array, nothing."""
    inner: int = 0
    members: list[bytes] = []

    def spelled(self) -> bytes:
        head = string(self.name) + u32(self.kind)
        if self.kind != ARRAY:
            return head + (string(self.value) if self.kind == STRING else self.value)
        members = map(string, self.members) if self.inner == STRING else self.members
        return head + u32(self.inner) + u64(len(self.members)) + b"".join(members)


class Matrix(msgspec.Struct):
    name: bytes
    shape: list[int]
    kind: int
    data: bytes

    @property
    def size(self) -> int:
        type_, values = TENSOR_TYPES[self.kind], 1
        for width in self.shape:
            values *= width
        return values // type_.values * type_.size_bytes


class Model(msgspec.Struct):
    """A GGUF taken apart, to be changed and put together again."""

    keys: list[Key]
    matrices: list[Matrix]

    def spelled(self) -> bytes:
        """Put it together: offsets as they should be, the weights cut or filled up with zeros."""
        head = b"GGUF" + u32(3) + u64(len(self.matrices)) + u64(len(self.keys))
        head += b"".join(key.spelled() for key in self.keys)
        end, weights = 0, []
        for matrix in self.matrices:
            size = matrix.size
            head += string(matrix.name) + u32(len(matrix.shape)) + b"".join(map(u64, matrix.shape))
            head += u32(matrix.kind) + u64(end)
            padded = -(-size // 32) * 32
            weights.append(matrix.data[:size].ljust(padded, b"\0"))
            end += padded
        return head + bytes(-len(head) % 32) + b"".join(weights)


def take_apart(path: Path) -> Model:
    """Read a sound file."""
    data, at = path.read_bytes(), 8

    def number(format_: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{format_}", data, at)
        at += struct.calcsize(format_)
        return int(value)

    def raw(size: int) -> bytes:
        nonlocal at
        at += size
        return data[at - size : at]

    def value(kind: int) -> bytes:
        return raw(number("Q")) if kind == STRING else raw(struct.calcsize(SCALARS[kind]))

    matrix_count, key_count = number("Q"), number("Q")
    keys, matrices, offsets = [], [], []
    for _ in range(key_count):
        name, kind = raw(number("Q")), number("I")
        if kind == ARRAY:
            inner, count = number("I"), number("Q")
            keys.append(Key(name, kind, b"", inner, [value(inner) for _ in range(count)]))
        else:
            keys.append(Key(name, kind, value(kind)))
    for _ in range(matrix_count):
        name, dimensions = raw(number("Q")), number("I")
        shape = [number("Q") for _ in range(dimensions)]
        matrices.append(Matrix(name, shape, number("I"), b""))
        offsets.append(number("Q"))
    at += -at % 32
    for matrix, offset in zip(matrices, offsets, strict=True):
        matrix.data = data[at + offset : at + offset + matrix.size]
    return Model(keys, matrices)


class Mutator:
    """Changes models at random, always the same with one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def change(self, model: Model) -> str:
        """Change a model; return what was done."""
        choose = self._random.choice
        ways = [self._value, self._value, self._value, self._kind, self._array, self._array, self._member]
        ways += [self._member, self._member, self._add, self._add, self._add, self._remove, self._rename, self._matrix]
        return choose(ways)(model)

    def _pack(self, kind: int, value: int) -> bytes:
        if kind in FLOATS:
            real: float = self._random.choice(REALS)
            return struct.pack(f"<{SCALARS[kind]}", real)
        size = struct.calcsize(SCALARS[kind])
        return (value % (1 << 8 * size)).to_bytes(size, "little")

    def _number(self, kind: int, old: bytes) -> bytes:
        before = int.from_bytes(old, "little")
        near = [before - 1, before + 1, before * 2, before // 2, -before]
        return self._pack(kind, self._random.choice([*near, *NUMBERS]))

    def _text(self, old: bytes) -> bytes:
        if self._random.random() < 0.5 or not old:
            return self._random.choice(TEXTS)
        text = bytearray(old)
        at = self._random.randrange(len(text))
        match self._random.randrange(3):
            case 0:
                text[at] ^= 1 << self._random.randrange(8)
            case 1:
                del text[at:]
            case 2:
                text[at:at] = self._random.choice(TEXTS)
        return bytes(text)

    def _scalars(self, model: Model) -> list[Key]:
        return [key for key in model.keys if key.kind != ARRAY]

    def _arrays(self, model: Model) -> list[Key]:
        return [key for key in model.keys if key.kind == ARRAY]

    def _value(self, model: Model) -> str:
        key = self._random.choice(self._scalars(model))
        known = ADDED_TEXTS.get(key.name.decode("utf-8", "replace"))
        if key.kind == STRING and known and self._random.random() < 0.7:
            key.value = self._random.choice(known)
        elif key.kind == STRING:
            key.value = self._text(key.value)
        else:
            key.value = self._number(key.kind, key.value)
        return f"{key.name!r} = {key.value[:40]!r}"

    def _kind(self, model: Model) -> str:
        key = self._random.choice(model.keys)
        kind = self._random.choice([*SCALARS, STRING, ARRAY])
        numeric = key.kind == ARRAY and STRING not in {kind, key.inner} and kind != ARRAY
        if numeric and self._random.random() < 0.7:
            size = struct.calcsize(SCALARS[kind])
            key.inner, key.members = kind, [member[:size].ljust(size, b"\0") for member in key.members]
            return f"members of {key.name!r} are of kind {kind}"
        value = key.value or (key.members[0] if key.members else b"")
        key.kind = kind
        if kind == ARRAY:
            key.inner = self._random.choice([*SCALARS, STRING])
            size = struct.calcsize(SCALARS.get(key.inner, "B"))
            count = self._random.choice([0, 1, 2, 5])
            key.members = [value if key.inner == STRING else value[:size].ljust(size, b"\0")] * count
        elif kind != STRING:
            size = struct.calcsize(SCALARS[kind])
            key.value = value[:size].ljust(size, b"\0")
        return f"{key.name!r} is of kind {kind}, {key.inner}, {key.value[:20]!r}"

    def _array(self, model: Model) -> str:
        arrays = self._arrays(model)
        if not arrays:
            return "nothing"
        key = self._random.choice(arrays)
        count = len(key.members)
        wanted = self._random.choice([0, 1, 2, count - 1, count // 2, count + 1, count + 100, 2 * count])
        filling = (
            self._random.choice(key.members) if key.members else b"\0" * struct.calcsize(SCALARS.get(key.inner, "B"))
        )
        unlike = key.inner == STRING and self._random.random() < 0.7
        more = [filling + (b"%d" % i if unlike else b"") for i in range(max(0, wanted - count))]
        key.members = [*key.members[: max(wanted, 0)], *more]
        return f"{key.name!r} has {len(key.members)} members in place of {count}"

    def _member(self, model: Model) -> str:
        arrays = [key for key in self._arrays(model) if key.members]
        if not arrays:
            return "nothing"
        key = self._random.choice(arrays)
        at = self._random.randrange(len(key.members))
        if self._random.random() < 0.3:
            at = self._random.choice([0, 10, 32, len(key.members) - 1]) % len(key.members)
        old = key.members[at]
        if key.inner != STRING:
            key.members[at] = self._number(key.inner, old)
        elif self._random.random() < 0.25:
            key.members[at] = self._random.choice(key.members)
        else:
            key.members[at] = self._text(old)
        return f"{key.name!r}[{at}] = {key.members[at][:40]!r} in place of {old[:40]!r}"

    def _add(self, model: Model) -> str:
        choose = self._random.choice
        own = next((key.value for key in model.keys if key.name == b"general.architecture"), b"llama").decode("latin-1")
        match self._random.randrange(5):
            case 0:
                name = choose(list(ADDED_TEXTS))
                key = Key(name.encode(), STRING, choose(ADDED_TEXTS[name]))
                if not name.startswith(("general", "tokenizer")):
                    key.name = f"{own}.{name}".encode()
            case 1:
                kind = choose([4, 4, 4, 6, 6, 7])
                key = Key(f"{own}.{choose(ADDED_NUMBERS)}".encode(), kind, self._pack(kind, choose(NUMBERS)))
            case 2:
                name = f"tokenizer.ggml.{choose(ADDED_TOKENS)}_token_id"
                key = Key(name.encode(), 4, self._pack(4, choose(NUMBERS)))
            case 3:
                kind, count = choose([4, 5, 5, 6, 7]), choose([0, 1, 2, 4, 600])
                members = [self._pack(kind, choose(NUMBERS)) for _ in range(count)]
                key = Key(f"{own}.{choose(ADDED_LISTS)}".encode(), ARRAY, b"", kind, members)
            case _:
                kind, count = choose([0, 1, 4, 5, 6]), choose([0, 1, 2, 8, 300, 400])
                key = Key(choose(ADDED_ARRAYS).encode(), ARRAY, b"", kind, [])
                key.members = [self._pack(kind, choose(NUMBERS)) for _ in range(count)]
        model.keys = [other for other in model.keys if other.name != key.name] + [key]
        return f"{key.name!r} is {key.kind}, {key.inner}, {key.value!r}, {len(key.members)} members"

    def _remove(self, model: Model) -> str:
        if self._random.random() < 0.2 and model.matrices:
            return f"no {model.matrices.pop(self._random.randrange(len(model.matrices))).name!r}"
        return f"no {model.keys.pop(self._random.randrange(len(model.keys))).name!r}"

    def _rename(self, model: Model) -> str:
        named: list[Key | Matrix] = [*model.keys, *model.matrices]
        one = self._random.choice(named)
        before, one.name = one.name, self._text(one.name)
        return f"{before!r} is called {one.name[:40]!r}"

    def _matrix(self, model: Model) -> str:
        if not model.matrices:
            return "nothing"
        matrix = self._random.choice(model.matrices)
        match self._random.randrange(4):
            case 0:
                matrix.kind = self._random.choice(list(TENSOR_TYPES))
            case 1:
                matrix.shape = matrix.shape[::-1]
            case 2 if matrix.shape:
                at = self._random.randrange(len(matrix.shape))
                matrix.shape[at] = self._random.choice([0, 1, 2, matrix.shape[at] - 1, matrix.shape[at] + 32])
            case _:
                matrix.shape = [*matrix.shape, self._random.choice([0, 1, 2])][:4]
        return f"{matrix.name!r} is {matrix.shape} of kind {matrix.kind}"
