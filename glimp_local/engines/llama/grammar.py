"""Answers held to a JSON schema by llama.cpp's grammar sampler.

Each token is drawn as ever and looked at: only one that the grammar rejects is drawn again, from the likeliest that it
allows. So most tokens cost little, where asking for all of a vocabulary takes from milliseconds to a second. Whatever
is accepted was looked at before: llama.cpp would end the process at a token that does not fit.
"""

from __future__ import annotations

import ctypes
import json
import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from glimp_local.engines.llama.binding import lib
from glimp_local.engines.llama.vocabulary import Vocabulary
from glimp_local.errors import DecodeError, UsageError
from glimp_local.messages import Constraint

_MOST_RULES = 200_000
"""Characters of a grammar."""
_LIKELIEST = 256
"""Tokens that are looked at before all of a vocabulary: a schema with many values takes microseconds for each."""
_ROOT = "glimp-whole-answer"
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama.cpp's `llama_token_data`."""


class Grammar:
    """What an answer has to look like, and how far it has come. Raises UsageError for a schema that cannot be used."""

    def __init__(self, vocabulary: Vocabulary, constraint: Constraint) -> None:
        text = _rules(constraint).encode("utf-8", "replace")
        with _silenced():
            self._sampler: Any = lib.llama_sampler_init_grammar(vocabulary.handle, text, _ROOT.encode())
        if not self._sampler:
            raise UsageError("llama.cpp makes no grammar of this JSON schema", hint="take a simpler one")
        weakref.finalize(self, lib.llama_sampler_free, self._sampler)
        self._all = np.zeros(vocabulary.size, dtype=_CANDIDATE)
        self._one = np.zeros(1, dtype=_CANDIDATE)

    def begin(self, written: Sequence[int]) -> None:
        """Begin again behind the tokens of the answer written so far; raises DecodeError if they do not fit."""
        lib.llama_sampler_reset(self._sampler)
        for token in written:
            self.accept(token)

    def allows(self, token: int) -> bool:
        """May this token come next?"""
        self._one[0] = (token, 1.0, 0.0)
        _apply(self._sampler, self._one)
        return bool(np.isfinite(self._one["logit"][0]))

    def accept(self, token: int) -> None:
        """Note what has come; raises DecodeError if it does not fit."""
        if not self.allows(token):
            raise DecodeError("the answer does not fit its JSON schema any more")
        lib.llama_sampler_accept(self._sampler, token)

    def draw(self, chain: Any, logits: npt.NDArray[np.float32]) -> int:
        """Draw the next token with a chain of samplers; the chain has not accepted it, nor has the grammar.

        Raises DecodeError if the grammar allows none.
        """
        everything = np.arange(len(logits), dtype=np.int32)
        token = _drawn(chain, self._candidates(everything, logits))
        if self.allows(token):
            return token
        for ids in (_likeliest(logits), everything):
            candidates = self._candidates(ids, logits)
            _apply(self._sampler, candidates)
            if np.isfinite(candidates["logit"]).any():
                return _drawn(chain, candidates)
        raise DecodeError("no token of the vocabulary fits the JSON schema here")

    def _candidates(self, ids: npt.NDArray[Any], logits: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        candidates = self._all[: len(ids)]
        candidates["id"] = ids
        candidates["logit"] = logits[ids]
        return candidates


def _likeliest(logits: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    count = min(_LIKELIEST, len(logits))
    return np.argpartition(logits, -count)[-count:]


def _drawn(chain: Any, candidates: npt.NDArray[Any]) -> int:
    array = _apply(chain, candidates)
    return int(array.data[array.selected].id)


def _apply(sampler: Any, candidates: npt.NDArray[Any]) -> Any:
    """Let a sampler change candidates, and maybe choose one; return llama.cpp's view of them."""
    data = candidates.ctypes.data_as(ctypes.POINTER(lib.llama_token_data))
    array = lib.llama_token_data_array(data, len(candidates), -1, False)
    lib.llama_sampler_apply(sampler, ctypes.byref(array))
    return array


def _rules(constraint: Constraint) -> str:
    """Return the grammar, in llama.cpp's own notation."""
    from glimp_local.engines.llama.schema import rules_of, unusable  # noqa: PLC0415 - most answers do without

    rules = rules_of(constraint.json_schema)
    if len(rules) > _MOST_RULES:
        raise unusable("it is too large")
    before, after = (json.dumps(text, ensure_ascii=False) for text in (constraint.before, constraint.after))
    return f'{rules}\n{_ROOT} ::= "\\n"? "\\n"? {before} root {after}\n'


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep what llama.cpp prints to stderr off it: where it reads no grammar it prints all of it."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
