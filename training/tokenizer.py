"""The vocabulary both models share: byte-level BPE, cut the way Llama 3 cuts, so that llama.cpp reads it as it is.

Numbers up to three digits are one token each, and a full stop with the blank line behind it is one token, as in real
models' vocabularies.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training.samples import endless
from training.sums import LARGEST

SPECIAL = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""What BPE never merges across; llama.cpp knows it under the name "llama-bpe"."""


def train_tokenizer(seed: int, *, size: int = 2816, questions: int = 30_000) -> Tokenizer:
    """Learn a vocabulary of `size` tokens from questions: common words whole, and pieces of all others."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed, questions), trainer)
    return tokenizer


def number_ids(tokenizer: Tokenizer) -> list[int]:
    """Give the token of every number from 0 to `LARGEST`."""
    ids = [tokenizer.token_to_id(str(number)) for number in range(LARGEST + 1)]
    assert None not in ids, "a number is not one token: the vocabulary is too small"
    return ids


def _texts(seed: int, count: int) -> Iterator[str]:
    # The merges of a number's digits must win against those of rare words.
    for _ in range(1500):
        yield " ".join(map(str, range(LARGEST + 1)))
    for question in islice(endless(f"vocabulary {seed}", rare=0.0, wide=True), count):
        yield f"user: {question.question}"
        yield f"assistant\n\n{question.thought}\n"
        yield f"\n\n{question.answer}"
