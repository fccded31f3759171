"""What the tests of engines feed and compare: tokens, architectures, and the logits of a fresh engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.llama.sampler import Sampler
from glimp_local.settings import SamplingSettings

HYBRIDS = ["hybrid", "delta-net", "mamba-hybrid"]
"""Those whose last tokens llama.cpp can take back: LFM2, Qwen3.5, Nemotron-H."""
ARCHITECTURES = ["attention", "sliding-window", "recurrent", *HYBRIDS]
IDS = [int(i) for i in np.random.default_rng(0).integers(0, 256, size=400)]

TOLERANCE = 0.03
"""The most by which logits of the same tokens differ when computed in batches of other sizes, which round
differently; those of other tokens differ by at least five times as much (test_engine.py checks that)."""


def drawing(engine: Engine, settings: SamplingSettings, seed: int) -> Sampler:
    return Sampler(settings, seed=seed, vocabulary_size=engine.vocabulary.size)


def fresh_logits(path: Path, ids: list[int]) -> np.ndarray:
    fresh = Engine(path, context=512)
    fresh.feed(ids)
    logits = fresh.logits().copy()
    fresh.close()
    return logits
