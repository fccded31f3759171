"""What a person calls a model, made of the name in its file and the name of its file."""

from __future__ import annotations

import re
from pathlib import Path

_WORDS = re.compile(r"[a-z]+[\d.]*[a-z]*|\d[\d.]*[a-z]*")


def readable_name(given: str | None, path: Path) -> str:
    """Return the name that a GGUF gives itself, or its file's if that one was made by a machine.

    A conversion takes the name from the folder of a training run: "Smollm2 135M 8k Lc100K Mix1 Ep2", and the file is
    called smollm2-135m-instruct-q4_1.gguf. A name whose first word is in the file's name, and others are not, yields.
    """
    words = _WORDS.findall((given or "").removesuffix("GGUF").lower())
    if not given or not words:
        return path.stem
    file = path.stem.lower()
    if words[0] in file and not all(word in file for word in words):
        return path.stem
    return given.removesuffix("GGUF").rstrip(" -")
