"""Whether two models share a vocabulary, so that token ids can be handed from one to the other.

Knows neither llama.cpp nor files: the engine asks about loaded models, `glimp models compare` about headers, and both
go by these rules.
"""

from __future__ import annotations

from typing import Protocol

PADDING = 128
"""So many ids may one of two equal vocabularies have on top: quantisers pad (llama.cpp's own drafting allows it)."""
_LONGEST = 64
"""So many bytes of a token are shown."""


class Tokens(Protocol):
    """What is compared of a vocabulary."""

    @property
    def kind(self) -> int:
        """Number of the tokenizer's kind (`enum llama_vocab_type`)."""

    @property
    def size(self) -> int:
        """How many tokens there are."""

    @property
    def bos(self) -> int:
        """Token that begins a text; -1 where there is none."""

    @property
    def eos(self) -> int:
        """Token that ends a text; -1 where there is none."""

    @property
    def adds_bos(self) -> bool:
        """Does every text begin with it?"""

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a generation."""

    def raw(self, token: int) -> bytes:
        """Give a token as its vocabulary spells it."""

    def attributes(self, token: int) -> int:
        """Give a token's attributes (`enum llama_token_attr`)."""


def difference(one: Tokens, other: Tokens) -> str | None:  # noqa: PLR0911 - one return a reason
    """Say why token ids must not be handed from one vocabulary to the other; None where they may.

    Two models share a vocabulary when its kind, the BOS and EOS tokens and flags, the text and attributes of every id
    and the set of ends of generation agree; one may have up to 128 padding ids on top.
    """
    if one.kind != other.kind:
        return "the tokenizers are of different kinds"
    if abs(one.size - other.size) > PADDING:
        return f"{one.size:,} and {other.size:,} tokens"
    if (one.bos, one.eos, one.adds_bos) != (other.bos, other.eos, other.adds_bos):
        return "the tokens that begin and end a text differ"
    common = range(min(one.size, other.size))
    for token in common:
        if one.raw(token) != other.raw(token):
            return f"token {token} is {_spelled(one, token)} in one and {_spelled(other, token)} in the other"
    if one.ends != other.ends:
        return "the tokens that end a generation differ"
    for token in common:
        if one.attributes(token) != other.attributes(token):
            return f"token {token} ({_spelled(one, token)}) has different attributes"
    return None


def _spelled(tokens: Tokens, token: int) -> str:
    return repr(tokens.raw(token)[:_LONGEST].decode("utf-8", "replace"))
