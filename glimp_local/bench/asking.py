"""What a pair is asked in a bench: the problem, the instruction behind it, and whether there is room for both."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

from glimp_local.bench.problems import Problem
from glimp_local.engines.protocol import Lane, Peeks, Prompt
from glimp_local.errors import UsageError
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.routing import Model


class Instruction(NamedTuple):
    """What is put behind a problem; empty for nothing."""

    plain: str = ""
    choices: str = ""
    """Behind a problem of multiple choice."""

    def behind(self, problem: Problem) -> str:
        """Return the one for a problem."""
        return self.choices if problem.choices else self.plain


INSTRUCTION = Instruction(
    "Reason step by step, with a blank line between two steps, and put the result at the end in \\boxed{}, alone.",
    "Reason step by step, with a blank line between two steps, and put the letter of the right choice at the end in "
    "\\boxed{}, alone.",
)
"""What is put behind a problem, unless the pair was made for one kind of problem as it stands."""


def instruction_for(pair: Pair, given: str | None) -> Instruction:
    """Give the instruction: the one given, or INSTRUCTION, which a pair made for one kind of problem does without."""
    if given is not None:
        return Instruction(given, given)
    return Instruction() if pair.config.only else INSTRUCTION


def asked(problem: Problem, instruction: Instruction) -> str:
    """Give what a pair is asked: the problem, and the instruction behind it."""
    behind = instruction.behind(problem)
    return f"{problem.text}\n\n{behind}" if behind else problem.text


def prepared(pair: Pair, problem: Problem, instruction: Instruction) -> dict[Model, tuple[Lane, Prompt]]:
    """Return each model's side of a conversation that begins with a problem, and the prompt it makes of it."""
    messages = [Message("user", asked(problem, instruction))]
    found: dict[Model, tuple[Lane, Prompt]] = {}
    for model, backend in pair.backends.items():
        lane = backend.lane(pair.config.run, seed=0, cancel=threading.Event())
        found[model] = lane, lane.prepare(pair.as_read(messages), pair.markers)
    return found


def check_lengths(pair: Pair, problems: Sequence[Problem], instruction: Instruction) -> None:
    """Raise UsageError where a problem takes more than half of a model's context: it would leave little room."""
    for problem in problems:
        for model, (_, prompt) in prepared(pair, problem, instruction).items():
            length, context = prompt.tokens, pair.backends[model].context
            if length > context // 2:
                raise UsageError(
                    f"the problem {problem.id!r} takes {length:,} tokens, more than half of the context of the {model} "
                    f"model ({context:,})",
                    hint="give them more with --ctx, or leave the problem out",
                )


def check_peeks(pair: Pair, *, judges: bool, looks: bool) -> None:
    """Raise UsageError where a model cannot be asked for the probabilities that SpecReason's judge, or looks, need."""
    wanted = {
        "large": ("specreason", "name the policies wanted with --policy") if judges else ("a look", "add --no-looks"),
        "small": ("a look", "add --no-looks"),
    }
    for model, backend in pair.backends.items():
        if not (looks or (judges and model == "large")):
            continue
        lane = backend.lane(pair.config.run, seed=0, cancel=threading.Event())
        if not (isinstance(lane, Peeks) and backend.can_glimpse):
            what, hint = wanted[model]
            raise UsageError(
                f"the {model} model ({backend.where}) does not tell how likely a continuation is, and {what} "
                "needs that",
                hint=hint,
            )


def objection(pair: Pair, problems: Sequence[Problem], instruction: Instruction) -> str | None:
    """Say it, once for all problems, where they are not of the one kind the pair was made for."""
    found = [said for problem in problems if (said := pair.objection(asked(problem, instruction)))]
    if not found:
        return None
    count = f"{len(found):,} of {len(problems):,}"
    return f"{count} problems are not for this pair, or may be too much for it. The first: {found[0].words}"
