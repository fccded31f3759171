"""Training of one model, which a stopped run continues from its last checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from training.batches import Batches
from training.growth import grow
from training.model import Model, Shape
from training.samples import Course
from training.tokenizer import number_ids

KEEP_EVERY = 250
"""Batches between two checkpoints."""


@dataclass(frozen=True)
class Plan:
    """How a model is trained."""

    shape: Shape
    batches: int
    grows_from: str | None = None
    """The model it begins as; from nothing without one."""
    course: Course = "narrow"
    """What stories it is taught."""
    ends_at: float = 0.0
    """What is left of the learning rate at the end: more than nothing for a model that another one grows from."""
    tokens: int = 4096
    """Tokens of a batch, padding included."""
    matrix_rate: float = 0.02
    """Learning rate of Muon, for the matrices."""
    embedding_rate: float = 0.002
    """Learning rate of AdamW, for embeddings and norms; three times as much and sums are learnt ten times as slowly."""

    def factor(self, batch: int) -> float:
        """Return a batch's share of the learning rate: it rises for a moment, stays for a fifth of the time, falls."""
        falling = self.ends_at + (1 - self.ends_at) * (1 - batch / self.batches)
        return min(1.0, (batch + 1) / 50, 1.25 * falling)


def train(
    name: str,
    plans: dict[str, Plan],
    tokenizer: Tokenizer,
    seed: int,
    *,
    folder: Path,
    device: torch.device,
    processes: int = 0,
) -> tuple[Model, float]:
    """Train a model, from its checkpoint in the folder if there is one; prints its progress.

    With `processes`, they make the batches.

    Returns it on the CPU, and the minutes all its runs took together.
    """
    torch.manual_seed(seed)
    plan, numbers = plans[name], number_ids(tokenizer)
    path = folder / f"{name}.pt"
    kept: dict[str, Any] | None = torch.load(path, weights_only=False) if path.exists() else None
    if kept is None and plan.grows_from is not None:
        model = grow(trained(plan.grows_from, plans, tokenizer, folder), plan.shape, numbers).to(device)
    else:
        model = Model(plan.shape, tokenizer.get_vocab_size(), numbers).to(device)
    optimizers = _optimizers(model, plan)
    place, done, seconds = (0, 0), 0, 0.0
    if kept is not None:
        model.load_state_dict(kept["model"])
        for optimizer, state in zip(optimizers, kept["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        place, done, seconds = kept["place"], kept["batch"], kept["seconds"]
    batches = Batches(tokenizer, f"{name} {seed}", plan.tokens, course=plan.course, place=place, processes=processes)
    count = sum(p.numel() for p in model.parameters())
    print(f"{name}: {count / 1e6:.2f} million parameters, {plan.batches} batches, {done} of them done", flush=True)
    hidden_of = torch.compile(model, dynamic=True)
    begin, losses = time.monotonic() - seconds, list[Tensor]()
    for number in range(done, plan.batches):
        for optimizer, rate in zip(optimizers, (plan.matrix_rate, plan.embedding_rate), strict=True):
            optimizer.param_groups[0]["lr"] = rate * plan.factor(number)
        ids, weights = batches.next()
        loss = _loss(hidden_of, model.embeddings(), ids.to(device), weights.to(device))
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.detach())  # asked for its number now and then only: a GPU would have to be waited for
        seconds = time.monotonic() - begin
        if (number + 1) % 50 == 0 or number + 1 == plan.batches:
            print(
                f"{name}: batch {number + 1} of {plan.batches}, loss {torch.stack(losses).mean().item():.4f}, "
                f"{seconds / 60:.1f} minutes, {seconds / (number + 1):.3f} s a batch",
                flush=True,
            )
            losses.clear()
        if (number + 1) % KEEP_EVERY == 0 or number + 1 == plan.batches:
            states = [optimizer.state_dict() for optimizer in optimizers]
            state = {"model": model.state_dict(), "optimizers": states, "batch": number + 1}
            torch.save({**state, "place": batches.place, "seconds": seconds}, path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
    batches.close()
    finished: Model = model.cpu()
    return finished, seconds / 60


def trained(name: str, plans: dict[str, Plan], tokenizer: Tokenizer, folder: Path) -> Model:
    """Return a model as its checkpoint in the folder has it."""
    model = Model(plans[name].shape, tokenizer.get_vocab_size(), number_ids(tokenizer))
    model.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=False)["model"])
    return model


def _optimizers(model: Model, plan: Plan) -> list[torch.optim.Optimizer]:
    matrices = [p for block in model.blocks for p in block.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    return [
        torch.optim.Muon(matrices, plan.matrix_rate, weight_decay=0.01),
        torch.optim.AdamW(others, plan.embedding_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _loss(hidden_of: Callable[[Tensor, Tensor], Tensor], table: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """Return the mean loss over the tokens that have a weight."""
    weights, targets = weights[:, 1:].flatten(), ids[:, 1:].flatten()
    chosen = weights.nonzero().squeeze(1)
    with torch.autocast(ids.device.type, dtype=torch.bfloat16):
        hidden = hidden_of(ids[:, :-1], table).flatten(0, 1).index_select(0, chosen)
        logits = hidden @ table.T
    losses = functional.cross_entropy(logits.float(), targets[chosen], reduction="none")
    return (losses * weights[chosen]).sum() / weights.sum()
