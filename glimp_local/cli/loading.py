"""A pair loaded for a command that has many problems solved, and what is to be said of both before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from glimp_local.bench.bench import objection
from glimp_local.bench.problems import Problem
from glimp_local.cli.interrupts import Interrupts
from glimp_local.errors import CancelledError
from glimp_local.load import load_pair
from glimp_local.pair import Pair
from glimp_local.routing import Model, PolicyName
from glimp_local.text import harmless


@contextmanager
def loaded(
    settings: dict[str, Any],
    options: dict[Model, dict[str, Any]],
    flags: dict[str, Any],
    policy: PolicyName | None = None,
) -> Iterator[tuple[Pair, Interrupts]]:
    """Load the pair the flags name, under its own policy or another; Ctrl-C and a polite kill cancel it.

    A CancelledError that leaves the context has the exit code of the signal. Raises what `load_pair` raises.
    """
    interrupts = Interrupts()
    try:
        with load_pair(
            flags["name"],
            small=flags["small"],
            large=flags["large"],
            models_file=flags["models_file"],
            cancel=interrupts.cancel,
            engine_options=options,
            **(settings | ({"policy": policy} if policy else {})),
        ) as pair:
            yield pair, interrupts
    except CancelledError as error:
        error.exit_code = interrupts.exit_code or error.exit_code
        raise
    finally:
        interrupts.ignore()


def say_notices(pair: Pair, problems: Sequence[Problem], instruction: str, console: Console) -> list[str]:
    """Say, and give, what there is to know of a pair, and whether the problems are for it."""
    notices = [notice for notice in (*pair.notices, objection(pair, problems, instruction)) if notice is not None]
    for notice in notices:
        console.print(harmless(f"glimp: {notice}"), markup=False)
    return notices
