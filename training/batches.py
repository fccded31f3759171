"""Batches of questions of like length, with most weight on what decides; where they stand can be kept and restored."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from training.samples import Course, endless
from training.sums import Question
from training.tokenizer import number_ids

EMPHASIS = 3.0
"""How much more a number, the first token of a step, and the first two of a sentence count in the loss than others.

They carry the decisions: what comes out, what happens, and where to read on. In a broad course the first token of a
name counts as much: who it is that has something is what a model learns last.
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
    """An endless row of batches of about `tokens` tokens, the same for the same seed; `place` is where it stands.

    With `processes` they are made ahead: a GPU learns faster than one process makes up stories.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        seed: str,
        tokens: int,
        *,
        course: Course = "narrow",
        place: tuple[int, int] = (0, 0),
        processes: int = 0,
    ) -> None:
        self._make = _Maker(tokenizer, seed, tokens, course)
        self.place = place
        self._executor = (
            ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) if processes else None
        )
        self._ahead: deque[Future[list[Batch]]] = deque()
        for number in range(place[0], place[0] + 2 * processes):
            self._order(number)
        self._pool = self._next_pool()

    def _order(self, number: int) -> None:
        assert self._executor is not None
        self._ahead.append(self._executor.submit(self._make, number))

    def _next_pool(self) -> list[Batch]:
        if self._executor is None:
            return self._make(self.place[0])
        self._order(self.place[0] + len(self._ahead))
        return self._ahead.popleft().result()

    def next(self) -> tuple[Tensor, Tensor]:
        """Return token ids and loss weights, each (questions, tokens), padded at the end; weights are 0 for prompts."""
        if self.place[1] == len(self._pool):
            self.place = self.place[0] + 1, 0
            self._pool = self._next_pool()
        batch = self._pool[self.place[1]]
        self.place = self.place[0], self.place[1] + 1
        return torch.from_numpy(batch.ids), torch.from_numpy(batch.weights)

    def close(self) -> None:
        """End the processes."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)


class Batch(NamedTuple):
    """Token ids and their weights in the loss, each (questions, tokens)."""

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]


class _Maker:
    """Makes the batches of one pool of questions; can be sent to another process."""

    def __init__(self, tokenizer: Tokenizer, seed: str, tokens: int, course: Course) -> None:
        self._tokenizer = tokenizer
        self._seed = seed
        self._tokens = tokens
        self._course: Course = course
        self._is_number = np.zeros(tokenizer.get_vocab_size(), dtype=bool)
        self._is_number[number_ids(tokenizer)] = True
        texts = (tokenizer.decode([token]) for token in range(tokenizer.get_vocab_size()))
        self._ends_step = np.array([text.endswith("\n\n") for text in texts])
        self._full_stop = tokenizer.token_to_id(".")
        self._before_a_name = [tokenizer.token_to_id(text) for text in (":", ",")]

    def __call__(self, number: int) -> list[Batch]:
        rng = Random(f"pool {self._seed} {number}")
        questions = endless(f"questions {self._seed} {number}", course=self._course)
        found = (self._sample(question, questions, rng) for question in islice(questions, POOL))
        samples = sorted((s for s in found if len(s.ids) <= LONGEST), key=lambda sample: len(sample.ids))
        groups: list[list[_Sample]] = [[]]
        for sample in samples:
            if (len(groups[-1]) + 1) * sample.padded > self._tokens:
                groups.append([])
            groups[-1].append(sample)
        rng.shuffle(groups)
        return [self._batch(group) for group in groups]

    def _sample(self, question: Question, others: Iterator[Question], rng: Random) -> _Sample:
        prompt, reply = render(question)
        while rng.random() < EARLIER_TURNS:
            before = next(others)
            prompt = f"{_asked(before)}<|im_start|>assistant: {before.answer}<|im_end|>\n{prompt}"
        asked, written = (self._tokenizer.encode(text).ids for text in (prompt, reply))
        return _Sample(asked + written, len(asked))

    def _batch(self, group: list[_Sample]) -> Batch:
        shape = len(group), max(sample.padded for sample in group) + 1
        ids, weights = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        for row, sample in enumerate(group):
            ids[row, : len(sample.ids)] = sample.ids
            weights[row, sample.prompt : len(sample.ids)] = 1.0
        before, earlier = np.roll(ids, 1, axis=1), np.roll(ids, 2, axis=1)
        begins = self._ends_step[before] | (before == self._full_stop) | (earlier == self._full_stop)
        if self._course == "broad":
            begins |= np.isin(before, self._before_a_name)
        weights[(self._is_number[ids] | begins) & (weights > 0)] = EMPHASIS
        return Batch(ids, weights)
