"""Sampling with llama.cpp's own sampler chain."""

from __future__ import annotations

from typing import Any

import llama_cpp

from glimp_local.settings import SamplingSettings


class Sampler:
    """A chain of llama.cpp's samplers with its own stream of random numbers."""

    def __init__(self, settings: SamplingSettings, *, seed: int, vocabulary_size: int) -> None:
        lib = llama_cpp
        self._settings = settings
        self._chain: Any = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        self._penalties: Any = None
        if settings.penalises:
            self._penalties = lib.llama_sampler_init_penalties(
                vocabulary_size, settings.penalty_tokens, settings.repeat_penalty, 0.0, settings.presence_penalty
            )
            self._add(self._penalties)
        if settings.temperature <= 0:
            self._add(lib.llama_sampler_init_greedy())
        else:
            self._add(lib.llama_sampler_init_top_k(settings.top_k))
            self._add(lib.llama_sampler_init_top_p(settings.top_p, 1))
            if settings.min_p > 0:
                self._add(lib.llama_sampler_init_min_p(settings.min_p, 1))
            self._add(lib.llama_sampler_init_temp(settings.temperature))
            self._add(lib.llama_sampler_init_dist(seed))
        self._accepted: int | None = None  # tokens the penalties know of; None after a feed or a rewind

    def forget(self) -> None:
        """Take note that the context was fed or rewound: what is recent has to be told anew."""
        self._accepted = None

    def _add(self, sampler: Any) -> None:
        llama_cpp.llama_sampler_chain_add(self._chain, sampler)

    def sample(self, context: Any, ids: list[int], *, row: int = -1) -> int:
        """Draw the token behind `ids` from a context's row of logits (-1 is the last one)."""
        if self._penalties is not None and self._accepted != len(ids):
            llama_cpp.llama_sampler_reset(self._penalties)
            for token in ids[-self._settings.penalty_tokens :]:
                llama_cpp.llama_sampler_accept(self._penalties, token)
        self._accepted = len(ids) + 1
        return int(llama_cpp.llama_sampler_sample(self._chain, context, row))

    def close(self) -> None:
        """Free the chain."""
        if self._chain:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = self._penalties = None
