"""Batches of questions of like length, with most weight on what decides; where they stand can be kept and restored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.samples import endless
from training.sums import Question
from training.tokenizer import number_ids

EMPHASIS = 3.0
"""How much more a number, the first token of a step, and the first two of a sentence count in the loss than others.

They carry the decisions: what comes out, what happens, and where to read on.
"""
EARLIER_TURNS = 0.06
"""Share of samples with a finished question before the one to solve, as in a chat."""
LENGTHS = 32
"""Batches are padded to a multiple of this length: with few different shapes torch keeps its kernels for them."""
POOL = 1024
"""Questions sorted by length at once, so that a batch holds questions of one length."""
LONGEST = 1024
"""Tokens; a longer sample is left out."""


def render(question: Question) -> tuple[str, str]:
    """Return the prompt, thought opened, and what the model is to write."""
    prompt = f"{_asked(question)}<|im_start|>assistant\n<think>\n"
    return prompt, f"{question.thought}\n</think>\n\n{question.answer}<|im_end|>\n"


def _asked(question: Question) -> str:
    return f"<|im_start|>user: {' '.join(question.question.split())}<|im_end|>\n"


@dataclass(frozen=True)
class _Sample:
    ids: list[int]
    prompt: int
    """Tokens at the beginning that the model does not write."""

    @property
    def padded(self) -> int:
        """Tokens it takes in a batch, without the last one, which nothing follows."""
        return -(-(len(self.ids) - 1) // LENGTHS) * LENGTHS


class Batches:
    """An endless row of batches of about `tokens` tokens, the same for the same seed; `place` is where it stands."""

    def __init__(
        self, tokenizer: Tokenizer, seed: str, tokens: int, *, wide: bool = False, place: tuple[int, int] = (0, 0)
    ) -> None:
        self._tokenizer = tokenizer
        self._seed = seed
        self._tokens = tokens
        self._wide = wide
        self._is_number = torch.zeros(tokenizer.get_vocab_size(), dtype=torch.bool)
        self._is_number[number_ids(tokenizer)] = True
        texts = (tokenizer.decode([token]) for token in range(tokenizer.get_vocab_size()))
        self._ends_step = torch.tensor([text.endswith("\n\n") for text in texts])
        self._full_stop = tokenizer.token_to_id(".")
        self.place = place
        self._groups = self._pool(place[0])

    def next(self) -> tuple[Tensor, Tensor]:
        """Return token ids and loss weights, each (questions, tokens), padded at the end; weights are 0 for prompts."""
        pool, index = self.place
        if index == len(self._groups):
            pool, index = pool + 1, 0
            self._groups = self._pool(pool)
        self.place = pool, index + 1
        group = self._groups[index]
        shape = len(group), max(sample.padded for sample in group) + 1
        ids, weights = torch.zeros(shape, dtype=torch.long), torch.zeros(shape)
        for row, sample in enumerate(group):
            ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
            weights[row, sample.prompt : len(sample.ids)] = 1.0
        before, earlier = ids.roll(1, dims=1), ids.roll(2, dims=1)
        begins = self._ends_step[before] | (before == self._full_stop) | (earlier == self._full_stop)
        weights[(self._is_number[ids] | begins) & (weights > 0)] = EMPHASIS
        return ids, weights

    def _pool(self, number: int) -> list[list[_Sample]]:
        rng = Random(f"pool {self._seed} {number}")
        questions = endless(f"questions {self._seed} {number}", wide=self._wide)
        found = (self._sample(question, questions, rng) for question in islice(questions, POOL))
        samples = sorted((s for s in found if len(s.ids) <= LONGEST), key=lambda sample: len(sample.ids))
        groups: list[list[_Sample]] = [[]]
        for sample in samples:
            if (len(groups[-1]) + 1) * sample.padded > self._tokens:
                groups.append([])
            groups[-1].append(sample)
        rng.shuffle(groups)
        return groups

    def _sample(self, question: Question, others: Iterator[Question], rng: Random) -> _Sample:
        prompt, reply = render(question)
        while rng.random() < EARLIER_TURNS:
            before = next(others)
            prompt = f"{_asked(before)}<|im_start|>assistant: {before.answer}<|im_end|>\n{prompt}"
        asked, written = (self._tokenizer.encode(text).ids for text in (prompt, reply))
        return _Sample(asked + written, len(asked))
