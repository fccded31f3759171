"""The tokens that a text becomes in another model's transcript."""

from __future__ import annotations

from collections.abc import Callable

from glimp_local.engines.llama.vocabulary import Vocabulary
from glimp_local.session.transcript import Transcript


class _Reader:
    """A lane that turns what it is handed into tokens, and does nothing else."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.ids: list[int] = []
        self._vocabulary = vocabulary

    def append(self, raw: bytes, *, own: bool = False) -> None:
        self.ids += self._vocabulary.tokenize(raw, control=own, continues=True)


def _read(vocabulary: Vocabulary, close: str | None, act: Callable[[Transcript], None]) -> list[int]:
    reader = _Reader(vocabulary)
    act(Transcript({"small": reader}, close=close, shares_vocabulary=False))  # type: ignore[dict-item] # part of a lane
    return reader.ids


def handed_over(vocabulary: Vocabulary, text: bytes, close: str | None) -> list[int]:
    return _read(vocabulary, close, lambda transcript: transcript.hand_over(text))


def closing(vocabulary: Vocabulary, tail: bytes, close: str) -> list[int]:
    return _read(vocabulary, close, lambda transcript: transcript.close_thought(tail))
