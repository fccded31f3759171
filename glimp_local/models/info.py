"""What a GGUF says of itself: its model described from the header, without loading it.

Whether the installed llama.cpp can run a model is not said here: only loading it tells.
"""

from __future__ import annotations

import msgspec

from glimp_local.errors import ModelUnreadableError
from glimp_local.models.footprint import footprint, ubatch_of
from glimp_local.models.gguf.header import Array, Header, Tensor
from glimp_local.models.gguf.vocabulary import KINDS, HeaderVocabulary, header_vocabulary
from glimp_local.models.markers import find_markers

_QUANTISATIONS = {
    **dict(enumerate(("F32", "F16", "Q4_0", "Q4_1"))),
    **dict(enumerate(("Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M"), 7)),
    **dict(enumerate(("Q5_K_S", "Q5_K_M", "Q6_K", "IQ2_XXS", "IQ2_XS", "Q2_K_S", "IQ3_XS", "IQ3_XXS", "IQ1_S"), 16)),
    **dict(enumerate(("IQ4_NL", "IQ3_S", "IQ3_M", "IQ2_S", "IQ2_M", "IQ4_XS", "IQ1_M", "BF16"), 25)),
    **dict(enumerate(("TQ1_0", "TQ2_0", "MXFP4_MOE", "NVFP4", "Q1_0", "Q2_0"), 36)),
}
"""By `general.file_type` (`enum llama_ftype`)."""
_GUESSED = 1024
_CONTEXTS = (4096, 16384)
_MOST_BYTES = 2**50
"""No model takes more: a header that speaks of it is damaged."""


class TypeShare(msgspec.Struct, frozen=True):
    """What the tensors of one number type are of a model."""

    type: str
    """ggml's name, as "Q4_K"."""
    tensors: int
    parameters: int
    size_bytes: int


class VocabularyInfo(msgspec.Struct, frozen=True):
    """A model's vocabulary."""

    kind: str
    """The kind of tokenizer, as "BPE"."""
    pre_tokenizer: str | None
    """How text is cut before it is tokenised, by llama.cpp's name."""
    tokens: int
    bos: str | None
    """The token that begins a text, as the vocabulary spells it; null where there is none."""
    eos: str | None
    """The token that ends a text."""


class TemplateInfo(msgspec.Struct, frozen=True):
    """A model's chat template."""

    characters: int
    thinking_open: str | None
    """What opens a thought, as the template has it; null where it knows of none that glimp knows."""
    thinking_close: str | None
    can_switch_thinking: bool
    """Does it know `enable_thinking`?"""
    tools: bool
    """Does it speak of tools?"""


class MemoryAt(msgspec.Struct, frozen=True):
    """The memory a model takes at a context, wherever its layers lie; its cache as f16."""

    context_tokens: int
    weights_bytes: int
    cache_bytes: int
    """The KV cache, and the state of recurrent layers."""
    working_bytes: int
    """What a pass computes with, and the tokeniser."""

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.cache_bytes + self.working_bytes


class ModelInfo(msgspec.Struct, frozen=True):
    """A model, as the header of its file tells."""

    path: str
    parts: tuple[str, ...]
    """All files of the model; one, where it is not split."""
    size_bytes: int
    """Of all files."""
    architecture: str
    name: str | None
    basename: str | None
    """The family, as "Qwen3"."""
    organisation: str | None
    licence: str | None
    parameters: int
    """Numbers in all tensors."""
    active_parameters: int
    """Those that work on one token: of a mixture of experts, only the experts used count."""
    quantisation: str | None
    """What the file calls itself, as "Q4_K_M"; null where it does not say."""
    types: tuple[TypeShare, ...]
    """The number types its tensors really have, the largest share first."""
    context_tokens: int | None
    """The context it was trained for."""
    layers: int | None
    embedding: int | None
    """Numbers that stand for a token between layers."""
    heads: int | None
    """Attention heads; of layers that differ, the most."""
    kv_heads: int | None
    """Heads whose keys and values are cached; of layers that differ, the most."""
    experts: int | None
    """Experts of a layer; null where it is no mixture of experts."""
    experts_used: int | None
    vocabulary: VocabularyInfo | None
    """Null where it has none, or one of a kind glimp does not know."""
    template: TemplateInfo | None
    """Null where it has none."""
    memory: tuple[MemoryAt, ...]
    """At 4,096 and 16,384 tokens and the context it was trained for; empty where the header does not tell enough, or
    nonsense."""

    @property
    def bits_per_parameter(self) -> float:
        """Bits that a parameter takes on average."""
        return 8 * sum(share.size_bytes for share in self.types) / self.parameters if self.parameters else 0.0


def inspect(header: Header) -> ModelInfo:
    """Describe a model; raises ModelUnreadableError where its header lacks the architecture or holds nonsense."""
    experts = _number(header, "expert_count") or None
    experts_used = _number(header, "expert_used_count") if experts else None
    parameters = sum(tensor.values for tensor in header.tensors)
    template = header.text("tokenizer.chat_template")
    heads = _number(header, "attention.head_count")
    return ModelInfo(
        path=str(header.path),
        parts=tuple(map(str, header.parts)),
        size_bytes=header.size_bytes,
        architecture=header.architecture,
        name=header.text("general.name"),
        basename=header.text("general.basename"),
        organisation=header.text("general.organization"),
        licence=header.text("general.license"),
        parameters=parameters,
        active_parameters=parameters - _idle(header.tensors, experts, experts_used),
        quantisation=_quantisation(header),
        types=_types(header.tensors),
        context_tokens=_number(header, "context_length"),
        layers=_number(header, "block_count"),
        embedding=_number(header, "embedding_length"),
        heads=heads,
        kv_heads=_number(header, "attention.head_count_kv", heads),
        experts=experts,
        experts_used=experts_used,
        vocabulary=_vocabulary(header, header_vocabulary(header)),
        template=None if template is None else describe_template(template),
        memory=_memory(header) if header.tensors else (),
    )


def _memory(header: Header) -> tuple[MemoryAt, ...]:
    try:
        needed = footprint(header)
    except ModelUnreadableError:  # of an architecture with other keys than a transformer's
        return ()
    trained = needed.trained_context
    ubatch = ubatch_of(trained or max(_CONTEXTS))
    contexts = sorted({context for context in (*_CONTEXTS, trained) if 0 < context <= (trained or context)})
    found = tuple(
        MemoryAt(
            context_tokens=context,
            weights_bytes=needed.weights_bytes,
            cache_bytes=needed.cache_bytes(needed.layers, context, "f16", ubatch=ubatch),
            working_bytes=needed.compute_bytes(context, ubatch=ubatch, fused=True)
            + needed.other_bytes()
            + needed.snapshot_bytes(context, "f16"),
        )
        for context in contexts
    )
    return found if all(at.total_bytes < _MOST_BYTES for at in found) else ()


def _number(header: Header, key: str, default: int | None = None) -> int | None:
    """Give a number of the architecture's own; None where there is none, as in a file of a vocabulary alone."""
    found = header.metadata.get(f"{header.architecture}.{key}")
    if found is None or (isinstance(found, Array) and not found.count):
        return default
    return header.number(key)


def _idle(tensors: tuple[Tensor, ...], experts: int | None, used: int | None) -> int:
    """Count the parameters of the experts that do not work on a token."""
    if not experts or used is None or used > experts:
        return 0
    return sum(tensor.values * (experts - used) // experts for tensor in tensors if "_exps" in tensor.name)


def _quantisation(header: Header) -> str | None:
    number = header.metadata.get("general.file_type")
    return _QUANTISATIONS.get(number & ~_GUESSED) if isinstance(number, int) else None


def _types(tensors: tuple[Tensor, ...]) -> tuple[TypeShare, ...]:
    by_type: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.type, []).append(tensor)
    shares = (
        TypeShare(type_, len(these), sum(one.values for one in these), sum(one.size_bytes for one in these))
        for type_, these in by_type.items()
    )
    return tuple(sorted(shares, key=lambda share: share.size_bytes, reverse=True))


def _vocabulary(header: Header, vocabulary: HeaderVocabulary | None) -> VocabularyInfo | None:
    if vocabulary is None:
        return None
    return VocabularyInfo(
        kind=KINDS[vocabulary.kind],
        pre_tokenizer=header.text("tokenizer.ggml.pre"),
        tokens=vocabulary.size,
        bos=vocabulary.spelled(vocabulary.bos),
        eos=vocabulary.spelled(vocabulary.eos),
    )


def describe_template(template: str) -> TemplateInfo:
    """Say what a chat template does, as its source tells."""
    markers = find_markers(template)
    return TemplateInfo(
        characters=len(template),
        thinking_open=markers.open.strip() if markers else None,
        thinking_close=markers.close if markers else None,
        can_switch_thinking="enable_thinking" in template,
        tools="tools" in template,
    )
