"""What there is to say of a pair, and of its problems, before a command has many of them solved."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from glimp_local.bench.asking import Instruction, objection
from glimp_local.bench.problems import Problem
from glimp_local.pair import Pair
from glimp_local.text import harmless


def say_notices(pair: Pair, problems: Sequence[Problem], instruction: Instruction, console: Console) -> list[str]:
    """Print, and return, what there is to know of a pair, and whether the problems are for it."""
    notices = [notice for notice in (*pair.notices, objection(pair, problems, instruction)) if notice is not None]
    for notice in notices:
        console.print(harmless(f"glimp: {notice}"), markup=False)
    return notices
