"""Headers that llama.cpp does not survive, refused before it is given the file.

llama.cpp reports most of what is wrong with a model as an error. Some things it takes for impossible: it then ends the
process, by an assertion (GGML_ASSERT), an exception nobody catches, or a function that is not there. Checked here are
those a header shows, of the release this package is written for, and nothing that llama.cpp reports by itself. What
single architectures assert about their own settings is not repeated here.

Takes about 30 ms for a vocabulary of 150,000 tokens.
"""

from __future__ import annotations

import re
from typing import Any

from glimp_local.errors import ModelUnreadableError
from glimp_local.models.gguf.header import Array, Header, shown

_MOST_BLOCKS = 512
_MOST_EXPERTS = 1024
_DENSE_OF_ONE_EXPERT = {"hunyuan-dense", "hunyuan_vl"}
"""Architectures in which llama.cpp takes one expert for none."""
_ONLY_EXPERTS = {"bailingmoe2", "glm4moe", "grovemoe", "smallthinker"}
"""Architectures that cannot be without."""
_SECTIONED = {"paddleocr", "qwen2vl", "qwen35", "qwen35moe", "qwen3vl", "qwen3vlmoe"}
"""Architectures that rotate the parts of a position in sections of a head."""
_ROPE_SCALINGS = {"none", "linear", "yarn", "longrope"}
_EPSILONS = ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon", "attention.group_norm_epsilon")
_NO_VOCABULARY = {"none", "no_vocab"}
_ALWAYS_WINDOWED = {"cohere2", "exaone-moe", "gemma2", "gemma3n", "gpt-oss", "muse-glimmer"}
_WINDOWED = {"afmoe", "exaone4", "gemma3", "mellum", "olmo2", "plamo3"}
"""Architectures with a sliding window in some layers: always, and where the header gives its width."""
_NO_PRODUCT = {"Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64"}
"""Number types of intermediate results and indices: llama.cpp has no matrix product for weights of these."""
_FLOATS = ("shortconv.conv.weight", "ssm_conv1d.weight", "ssm_a", "ssm_d")
"""Ends of the names of tensors that are F32 in every model, beside norms and biases."""
_INDICES = ("tid2eid", "d2t")
"""Parts of the names of tensors that hold indices."""
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})|\\(.)|([^\\])", re.DOTALL)
"""The first byte of a token, as RWKV's vocabularies spell it."""
_LETTERS = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}
_LONGEST_PLAMO = 1000
"""Bytes: llama.cpp makes a text of every part of every token of a PLaMo 2 vocabulary."""
_BYTE = 6
"""Token type of a token that stands for a byte."""


def refuse_fatal(header: Header) -> None:
    """Raise ModelUnreadableError where llama.cpp would end the process over a header, saying what it is."""
    reason = _numbers(header) or _tensors(header) or _vocabulary(header)
    if reason is not None:
        raise ModelUnreadableError(
            f"{header.path} cannot be used: {reason}, and llama.cpp would crash on that",
            hint="download it again, or look for the model in another file",
        )


def _numbers(header: Header) -> str | None:
    """Say what is wrong with the architecture's numbers."""
    blocks = header.number("block_count", 1)
    if not 0 < blocks <= _MOST_BLOCKS:
        return f"it has {blocks:,} layers, not between 1 and {_MOST_BLOCKS}"
    extra = header.number("nextn_predict_layers", 0)
    if extra > blocks:
        return f"{extra:,} of its {blocks:,} layers predict further tokens"
    scaling = header.text(_key(header, "rope.scaling.type"))
    if scaling is not None and scaling not in _ROPE_SCALINGS:
        return f"its rope.scaling.type is {shown(scaling)}, not one of {', '.join(sorted(_ROPE_SCALINGS))}"
    for key in _EPSILONS:
        epsilon = header.metadata.get(_key(header, key))
        if isinstance(epsilon, float) and not epsilon >= 0:  # not a number counts as negative
            return f"its {key} is {epsilon}"
    return _experts(header, blocks) or _heads(header, blocks) or _windows(header, blocks)


def _experts(header: Header, blocks: int) -> str | None:
    experts, used = header.number("expert_count", 0), max(_each(header, "expert_used_count", blocks), default=0)
    groups, groups_used = header.number("expert_group_count", 0), header.number("expert_group_used_count", 0)
    if header.architecture in _DENSE_OF_ONE_EXPERT and experts <= 1:
        experts = used = 0
    if not experts and header.architecture in _ONLY_EXPERTS:
        return "it has no experts"
    if experts > _MOST_EXPERTS:
        return f"it has {experts:,} experts, more than {_MOST_EXPERTS:,}"
    if used > experts or (experts and not used):
        return f"it uses {used:,} of {experts:,} experts"
    if groups >= max(experts, 1):
        return f"it has {groups:,} groups of {experts:,} experts"
    if groups > 1 and (experts % groups or not 0 < groups_used < groups):
        return f"it uses {groups_used:,} of {groups:,} groups of {experts:,} experts"
    return None


def _heads(header: Header, blocks: int) -> str | None:
    queries, keys = _each(header, "attention.head_count", blocks), _each(header, "attention.head_count_kv", blocks)
    for heads, kv_heads in zip(queries, keys, strict=False):
        if kv_heads and heads % kv_heads:
            return f"{heads:,} heads share the keys of {kv_heads:,}"
    heads = queries[0] if queries else 0
    if not heads and any(".attn_q" in tensor.name for tensor in header.tensors):
        return None if any(queries) else "it has attention, and no heads (attention.head_count)"
    return _rotation(header, heads) if heads else None


def _rotation(header: Header, heads: int) -> str | None:
    width = header.number("attention.key_length", header.number("embedding_length", 0) // heads)
    rotated = header.number("rope.dimension_count", width)
    if rotated % 2:
        return f"it rotates {rotated:,} numbers of a head, and not pairs"
    if rotated > width and _key(header, "attention.kv_lora_rank") not in header.metadata:
        return f"it rotates {rotated:,} numbers of a head's {width:,}"
    key = _key(header, "rope.dimension_sections")
    is_number = isinstance(header.metadata.get(key), int)
    if header.architecture in _SECTIONED and not is_number and not any(_short_array(header, key)[:3]):
        return "it rotates sections of no numbers"
    return None


def _each(header: Header, name: str, blocks: int) -> list[int]:
    """Return a number of each layer."""
    found = header.metadata.get(_key(header, name))
    if isinstance(found, Array):
        # Read as numbers without a sign, as llama.cpp does: a negative one is a great one.
        return [value % 2**32 for value in _short_array(header, _key(header, name)) if isinstance(value, int)]
    return [header.number(name)] * blocks if found is not None else []


def _short_array(header: Header, key: str) -> list[Any]:
    """Read an array with a member a layer; an empty one in place of any other, which llama.cpp refuses."""
    found = header.metadata.get(key)
    return header.array(key) if isinstance(found, Array) and found.count <= _MOST_BLOCKS else []


def _windows(header: Header, blocks: int) -> str | None:
    """Say it where a sliding window is for no layer: of architectures that keep a cache of its own for those."""
    always = header.architecture in _ALWAYS_WINDOWED
    if not always and not (header.architecture in _WINDOWED and header.number("attention.sliding_window", 0)):
        return None
    key = _key(header, "attention.sliding_window_pattern")
    period = header.metadata.get(key)
    none = not any(_short_array(header, key)[:blocks]) if isinstance(period, Array) else period == 1
    return "it has a sliding window, and no layer that uses it" if none else None


def _tensors(header: Header) -> str | None:
    """Say which weights are of a number type llama.cpp cannot compute with."""
    for tensor in header.tensors:
        is_vector = len(tensor.shape) <= 1 and ("norm" in tensor.name or tensor.name.endswith(".bias"))
        if (is_vector or tensor.name.endswith(_FLOATS)) and tensor.type != "F32":
            return f"its tensor {shown(tensor.name)} is of type {tensor.type}, not F32"
        if tensor.type in _NO_PRODUCT and not any(part in tensor.name for part in _INDICES):
            return f"its tensor {shown(tensor.name)} is of type {tensor.type}, which is none for weights"
    return None


def _vocabulary(header: Header) -> str | None:
    model = header.text("tokenizer.ggml.model")
    if model in _NO_VOCABULARY:
        return "it carries no vocabulary"
    if header.text("tokenizer.ggml.pre") == "whitespace" != model:
        return f"its tokenizer is {shown(model)}, its pre-tokenizer 'whitespace'"
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, Array) and not tokens.count:
        return "its vocabulary is empty"
    texts = header.array("tokenizer.ggml.tokens")
    return _pieces(header, model, texts) if texts and isinstance(texts[0], bytes) else None


def _pieces(header: Header, model: str | None, texts: list[bytes]) -> str | None:
    pieces = set(texts)
    if len(pieces) < len(texts) or b"" in pieces or b"\0" in b"".join(texts):
        # llama.cpp reads a text up to its first zero byte, and gives an empty one a name.
        texts = [text.partition(b"\0")[0] or b"[EMPTY_%d]" % i for i, text in enumerate(texts)]
        pieces = set(texts)
    return _equal(texts) if len(pieces) < len(texts) else _tokenizer(header, model, pieces)


def _equal(texts: list[bytes]) -> str:
    seen: dict[bytes, int] = {}
    for token, text in enumerate(texts):
        first = seen.setdefault(text, token)
        if first != token:
            return f"its tokens {first:,} and {token:,} are the same text"
    raise AssertionError("no two are equal")


def _tokenizer(header: Header, model: str | None, pieces: set[bytes]) -> str | None:
    """Say what a tokenizer of its kind would not survive in a text."""
    if model == "llama":
        missing = next((i for i in range(256) if not {b"<0x%02X>" % i, bytes([i])} & pieces), None)
        return None if missing is None else f"its vocabulary has no token for the byte 0x{missing:02X}"
    if model == "rwkv":
        return _endless(pieces)
    if model == "plamo2" and any(len(piece) > _LONGEST_PLAMO for piece in pieces):
        return f"it has tokens of more than {_LONGEST_PLAMO:,} bytes"
    if model == "bert" and _BYTE in header.array("tokenizer.ggml.token_type"):
        return "its WordPiece vocabulary has tokens for bytes"
    return None


def _endless(pieces: set[bytes]) -> str | None:
    """Say which byte an RWKV tokeniser never gets past: it begins a token, and is none."""
    begin, single = set[int](), set[int]()
    for piece in pieces:
        if match := _ESCAPED.match(piece):
            code, letter, plain = match.groups()
            byte = int(code, 16) if code else (_LETTERS.get(letter) or letter or plain)[0]
            begin.add(byte)
            if match.end() == len(piece):
                single.add(byte)
    missing = min(begin - single, default=None)
    if missing is None:
        return None
    return f"its vocabulary has tokens that begin with the byte 0x{missing:02X}, but none for the byte alone"


def _key(header: Header, name: str) -> str:
    return f"{header.architecture}.{name}"
