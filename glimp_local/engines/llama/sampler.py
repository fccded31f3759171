"""Sampling with llama.cpp's own sampler chain."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from glimp_local.engines.llama.binding import lib
from glimp_local.engines.llama.grammar import Grammar
from glimp_local.settings import SamplingSettings


class Sampler:
    """A chain of llama.cpp's samplers with its own stream of random numbers; freed with its owner."""

    def __init__(self, settings: SamplingSettings, *, seed: int, vocabulary_size: int) -> None:
        self._settings = settings
        self._chain: Any = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        weakref.finalize(self, lib.llama_sampler_free, self._chain)
        self._penalties: Any = None
        if settings.penalises:
            self._penalties = lib.llama_sampler_init_penalties(
                vocabulary_size,
                settings.penalty_tokens,
                settings.repeat_penalty,
                settings.frequency_penalty,
                settings.presence_penalty,
            )
            self._add(self._penalties)
        if settings.temperature <= 0:
            self._add(lib.llama_sampler_init_greedy())
        else:
            self._add(lib.llama_sampler_init_top_k(min(settings.top_k, vocabulary_size)))
            self._add(lib.llama_sampler_init_top_p(settings.top_p, 1))
            if settings.min_p > 0:
                self._add(lib.llama_sampler_init_min_p(settings.min_p, 1))
            self._add(lib.llama_sampler_init_temp(settings.temperature))
            self._add(lib.llama_sampler_init_dist(seed))
        self._accepted = (-1, -1)  # epoch and number of the tokens the penalties know of

    def _add(self, sampler: Any) -> None:
        lib.llama_sampler_chain_add(self._chain, sampler)

    def sample(self, context: Any, ids: list[int], *, epoch: int, row: int = -1) -> int:
        """Draw the token behind `ids` from a context's row of logits (-1 is the last one).

        The epoch changes whenever `ids` changes otherwise than by the token drawn last.
        """
        self._recall(ids, epoch)
        return int(lib.llama_sampler_sample(self._chain, context, row))

    def sample_within(self, grammar: Grammar, logits: npt.NDArray[np.float32], ids: list[int], *, epoch: int) -> int:
        """Draw the token behind `ids` that a grammar allows, which takes it if it does not end the text.

        Raises DecodeError if there is none.
        """
        self._recall(ids, epoch)
        token = grammar.draw(self._chain, logits)
        lib.llama_sampler_accept(self._chain, token)
        return token

    def _recall(self, ids: list[int], epoch: int) -> None:
        """Let the penalties know the latest tokens."""
        if self._penalties is not None:
            if self._accepted != (epoch, len(ids)):
                lib.llama_sampler_reset(self._penalties)
                for token in ids[-self._settings.penalty_tokens :]:
                    lib.llama_sampler_accept(self._penalties, token)
            self._accepted = (epoch, len(ids) + 1)
