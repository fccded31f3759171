"""Answers held to a JSON schema by llama.cpp's grammar sampler.

Each token is drawn as ever and looked at: only one that the grammar rejects is drawn again, from those it allows. So a
token costs little, where asking for all of a vocabulary costs milliseconds. Whatever is accepted was looked at before:
llama.cpp would end the process at a token that does not fit.
"""

from __future__ import annotations

import ctypes
import json
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from glimp_local.engines.llama.binding import lib
from glimp_local.engines.llama.vocabulary import Vocabulary
from glimp_local.errors import DecodeError, UsageError
from glimp_local.messages import Constraint

_MOST_REPEATED = 500
"""Of a schema's bounds on lengths: the grammar has a rule for each repetition."""
_BOUNDS = ("minLength", "maxLength", "minItems", "maxItems")
_MOST_RULES = 200_000
"""Characters of a grammar."""
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama.cpp's `llama_token_data`."""


class Grammar:
    """What an answer has to look like, and how far it has come. Raises UsageError for a schema that cannot be used."""

    def __init__(self, vocabulary: Vocabulary, constraint: Constraint) -> None:
        text = _rules(constraint).encode("utf-8", "replace")
        self._sampler: Any = lib.llama_sampler_init_grammar(vocabulary.handle, text, b"glimp-answer")
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
        token = self._drawn(chain, logits, only_allowed=False)
        if not self.allows(token):
            token = self._drawn(chain, logits, only_allowed=True)
            if not self.allows(token):
                raise DecodeError("no token of the vocabulary fits the JSON schema here")
        return token

    def _drawn(self, chain: Any, logits: npt.NDArray[np.float32], *, only_allowed: bool) -> int:
        candidates = self._all
        candidates["id"] = np.arange(len(candidates), dtype=np.int32)
        candidates["logit"] = logits
        if only_allowed:
            _apply(self._sampler, candidates)
        drawn = _apply(chain, candidates)
        return int(drawn.data[drawn.selected].id)


def _apply(sampler: Any, candidates: npt.NDArray[Any]) -> Any:
    """Let a sampler change candidates, and maybe choose one; return llama.cpp's view of them."""
    data = candidates.ctypes.data_as(ctypes.POINTER(lib.llama_token_data))
    array = lib.llama_token_data_array(data, len(candidates), -1, False)
    lib.llama_sampler_apply(sampler, ctypes.byref(array))
    return array


def _rules(constraint: Constraint) -> str:
    """Return the grammar, in llama.cpp's own notation."""
    from glimp_local.engines.llama.schema import rules_of  # noqa: PLC0415 - most answers do without

    _check(constraint.json_schema)
    try:
        rules = rules_of(constraint.json_schema)
    except Exception as error:  # the converter raises whatever it stumbles over
        raise UsageError(f"the JSON schema cannot be used: {type(error).__name__}: {error}"[:300]) from error
    if len(rules) > _MOST_RULES:
        raise UsageError("the JSON schema is too large to hold an answer to it")
    # The converter allows one blank at most, where models are used to lines and indents.
    rules = rules.replace('space ::= " "?', 'space ::= | " " | "\\n" [ \\t]{0,20}')
    before, after = (json.dumps(text, ensure_ascii=False) for text in (constraint.before, constraint.after))
    return f'{rules}\nglimp-answer ::= "\\n"? "\\n"? {before} root {after}\n'


def _check(schema: Any) -> None:
    """Refuse what would take for ever, or fetch something."""
    for node in _nodes(schema):
        for name in _BOUNDS:
            bound = node.get(name)
            if isinstance(bound, int) and bound > _MOST_REPEATED:
                raise UsageError(f"the JSON schema cannot be used: {name} is at most {_MOST_REPEATED}")
        reference = node.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#/"):
            raise UsageError(f"the JSON schema cannot be used: nothing is fetched, as for $ref {reference[:100]!r}")


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
