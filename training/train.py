"""Training of one model: batches of stories of like length, with most weight on what decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from statistics import fmean

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from training.model import Model, Shape
from training.stories import Story, endless
from training.tokenizer import number_ids, twins

EMPHASIS = 3.0
"""How much more a number, and the first token of a step, count in the loss than another: they carry the decisions."""
EARLIER_TURNS = 0.06
"""Share of samples with a finished question before the one to solve, as in a chat."""
LENGTHS = 32
"""Batches are padded to a multiple of this length: with few different shapes torch keeps its kernels for them."""
POOL = 1024
"""Stories sorted by length at once, so that a batch holds stories of one length."""


@dataclass(frozen=True)
class Plan:
    """How a model is trained."""

    shape: Shape
    batches: int
    tokens: int = 4096
    """Tokens of a batch, padding included."""
    matrix_rate: float = 0.02
    """Learning rate of Muon, for the matrices."""
    embedding_rate: float = 0.002
    """Learning rate of AdamW, for embeddings and norms; three times as much and sums are learnt ten times as slowly."""


def render(story: Story) -> tuple[str, str]:
    """Give the prompt, thought opened, and what the model is to write."""
    return f"{_asked(story)}<think>\n", f"{story.thought}\n</think>\n\n{story.answer}<|im_end|>\n"


def _asked(story: Story) -> str:
    return f"<|im_start|>user\n{story.question}<|im_end|>\n<|im_start|>assistant\n"


def train(
    plan: Plan, tokenizer: Tokenizer, seed: int, *, without: frozenset[str], name: str, device: torch.device
) -> Model:
    """Train a model from nothing; prints its progress and gives it back on the CPU."""
    torch.manual_seed(seed)
    model = Model(plan.shape, tokenizer.get_vocab_size(), number_ids(tokenizer), twins(tokenizer)).to(device)
    matrices = [p for block in model.blocks for p in block.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    optimizers = [
        torch.optim.Muon(matrices, plan.matrix_rate, weight_decay=0.01),
        torch.optim.AdamW(others, plan.embedding_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    rates = [plan.matrix_rate, plan.embedding_rate]
    batches = _batches(plan, tokenizer, seed, without, name)
    is_number = torch.zeros(tokenizer.get_vocab_size(), dtype=torch.bool)
    is_number[number_ids(tokenizer)] = True
    ends_step = torch.tensor([tokenizer.decode([i]).endswith("\n\n") for i in range(tokenizer.get_vocab_size())])
    count = sum(p.numel() for p in model.parameters())
    print(f"{name}: {count / 1e6:.2f} million parameters, {plan.batches} batches", flush=True)
    hidden_of = torch.compile(model, dynamic=True)
    begin, losses = time.monotonic(), []
    for number in range(plan.batches):
        # The rate rises for a moment, stays for a fifth of the time, and falls to nothing.
        factor = min(1.0, (number + 1) / 50, 1.25 * (1 - number / plan.batches))
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
        ids, weights = next(batches)
        weights[(is_number[ids] | ends_step[ids.roll(1, dims=1)]) & (weights > 0)] = EMPHASIS
        loss = _loss(hidden_of, model.embeddings(), ids.to(device), weights.to(device))
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
        if (number + 1) % 50 == 0 or number + 1 == plan.batches:
            seconds = time.monotonic() - begin
            print(
                f"{name}: batch {number + 1} of {plan.batches}, loss {fmean(losses[-50:]):.4f}, "
                f"{seconds / 60:.1f} minutes, {seconds / (number + 1):.2f} s a batch",
                flush=True,
            )
    trained: Model = model.cpu()
    return trained


def _loss(hidden_of: Callable[[Tensor, Tensor], Tensor], table: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """Give the mean loss over the tokens that have a weight."""
    weights, targets = weights[:, 1:].flatten(), ids[:, 1:].flatten()
    chosen = weights.nonzero().squeeze(1)
    with torch.autocast(ids.device.type, dtype=torch.bfloat16):
        hidden = hidden_of(ids[:, :-1], table).flatten(0, 1).index_select(0, chosen)
        logits = hidden @ table.T
    losses = functional.cross_entropy(logits.float(), targets[chosen], reduction="none")
    return (losses * weights[chosen]).sum() / weights.sum()


def _batches(
    plan: Plan, tokenizer: Tokenizer, seed: int, without: frozenset[str], name: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give token ids and loss weights (1 for what the model is to write), each (stories, tokens), padded at the end."""
    rng = Random(f"batches {name} {seed}")
    stories = endless(f"stories {name} {seed}", without=without)
    earlier = endless(f"earlier {name} {seed}", events=(1, 2), without=without)
    while True:
        samples = sorted(
            (_sample(next(stories), earlier, rng, tokenizer) for _ in range(POOL)), key=lambda sample: len(sample[0])
        )
        groups: list[list[tuple[list[int], int]]] = [[]]
        for sample in samples:
            if (len(groups[-1]) + 1) * _padded(sample) > plan.tokens:
                groups.append([])
            groups[-1].append(sample)
        rng.shuffle(groups)
        for group in groups:
            shape = (len(group), _padded(group[-1]) + 1)
            ids, weights = torch.zeros(shape, dtype=torch.long), torch.zeros(shape)
            for row, (text, prompt) in enumerate(group):
                ids[row, : len(text)] = torch.tensor(text)
                weights[row, prompt : len(text)] = 1.0
            yield ids, weights


def _padded(sample: tuple[list[int], int]) -> int:
    """Give the tokens a sample takes in a batch, but for the last, which nothing follows."""
    return -(-(len(sample[0]) - 1) // LENGTHS) * LENGTHS


def _sample(story: Story, earlier: Iterator[Story], rng: Random, tokenizer: Tokenizer) -> tuple[list[int], int]:
    """Give a story's tokens and how many of them are the prompt."""
    prompt, reply = render(story)
    while rng.random() < EARLIER_TURNS:
        before = next(earlier)
        prompt = _asked(before) + f"{before.answer}<|im_end|>\n{prompt}"
    asked, written = (tokenizer.encode(text).ids for text in (prompt, reply))
    return asked + written, len(asked)
