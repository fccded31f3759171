"""The runs behind `glimp calibrate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.progress import track

from glimp_local import units
from glimp_local.bench.agreement import watch
from glimp_local.bench.asking import asked, check_lengths, instruction_for
from glimp_local.bench.calibration import FEW, SHARES, Cut, cuts
from glimp_local.bench.problems import Problem
from glimp_local.bench.runs import Look, Looks
from glimp_local.cli.interrupts import Interrupts
from glimp_local.cli.notices import say_notices
from glimp_local.cli.terminal import shown_safely, write_json
from glimp_local.errors import CancelledError, GlimpError
from glimp_local.events import Solution, fold
from glimp_local.load import LoadRequest, load
from glimp_local.models import models_toml
from glimp_local.pair import Pair
from glimp_local.paths import user_file
from glimp_local.routing import Share
from glimp_local.session.session import Session

if TYPE_CHECKING:
    from glimp_local.bench.figures import AgreementFigures

_SEED = 1


class Calibration(msgspec.Struct, frozen=True):
    """What `--json` prints."""

    pair: str
    task: str
    problems: int
    glimpses: int
    share_steps: float
    """Share of steps on the large model while the problems were solved."""
    cuts: list[Cut]
    chosen: Cut
    """The threshold of the share that was wanted."""
    threshold_nats: float
    """The pair's threshold as it was."""
    share_at_threshold: float
    """The share of these steps that has a higher entropy than that."""
    agreement: AgreementFigures | None
    written: str | None
    """The models.toml into which the chosen threshold was put."""


class CalibrateFlags(msgspec.Struct, frozen=True):
    """The flags of `glimp calibrate` that are not about which pair is loaded, and how."""

    share: float | None
    agreement: bool
    write: bool
    instruction: str | None
    seed: int | None
    as_json: bool
    quiet: bool


def run(request: LoadRequest, problems: Sequence[Problem], flags: CalibrateFlags) -> int:
    """Calibrate the way the flags say; return the exit code."""
    with (
        Interrupts() as interrupts,
        load(request.changed(policy="share", on_failure="stop"), cancel=interrupts.cancel) as pair,
    ):
        found = _calibrate(pair, problems, flags, request.models_file or user_file(), interrupts)
    if flags.as_json:
        write_json(msgspec.json.encode(found))
    else:
        _show(found)
    return 0


def _calibrate(
    pair: Pair, problems: Sequence[Problem], flags: CalibrateFlags, models_file: Path, interrupts: Interrupts
) -> Calibration:
    share = pair.config.share if flags.share is None else flags.share
    says = Console(stderr=True, highlight=False, soft_wrap=True)
    instruction = instruction_for(pair, flags.instruction)
    check_lengths(pair, problems, instruction)
    say_notices(pair, problems, instruction, says)
    solved: list[Solution] = []
    looks: list[Looks] = []
    policy = Share(share, threshold_nats=pair.config.threshold)
    seed = _SEED if flags.seed is None else flags.seed
    hidden = flags.quiet or not says.is_terminal
    for number, problem in enumerate(track(problems, "solving", console=says, transient=True, disable=hidden)):
        pair.forget()
        session = Session(pair, seed=(seed + number) % 2**32, policy=policy, cancel=interrupts.cancel)
        seen: list[Look] = []
        question = asked(problem, instruction)
        solved.append(fold(watch(session, question, seen) if flags.agreement else session.ask(question)))
        looks.append(Looks(problem.id, 0, tuple(seen)))
        if solved[-1].finish_reason == "failed":
            raise GlimpError(f"{problem.id}: {solved[-1].notices[-1]}", hint="nothing was stored or written: try again")
        if interrupts.exit_code is not None:
            raise CancelledError("interrupted: nothing was stored or written")
    # Shares are of the steps before the answer, and so are thresholds.
    entropies = [
        [step.entropy_nats for step in solution.steps if step.part != "answer" and step.entropy_nats is not None]
        for solution in solved
    ]
    every = [nats for of_problem in entropies for nats in of_problem]
    try:
        *found, chosen = cuts(entropies, [*SHARES, share])
    except ValueError as error:
        raise GlimpError(f"{error}: no step was written", hint="try other problems, or more tokens") from error
    _store(pair, every)
    return Calibration(
        pair=pair.name,
        task=pair.config.task,
        problems=len(problems),
        glimpses=len(every),
        share_steps=sum(s.stats.steps_large for s in solved) / max(sum(s.stats.steps for s in solved), 1),
        cuts=found,
        chosen=chosen,
        threshold_nats=pair.config.threshold,
        share_at_threshold=sum(nats > pair.config.threshold for nats in every) / len(every),
        agreement=_agreement(looks) if flags.agreement else None,
        written=_write(pair, chosen, models_file) if flags.write else None,
    )


def _store(pair: Pair, entropies_nats: Sequence[float]) -> None:
    history = pair.entropies()
    assert history is not None  # both models are loaded
    try:
        history.replace(entropies_nats)
    except OSError as error:
        raise GlimpError(f"the entropies cannot be stored in {history.path}: {error.strerror}") from error


def _agreement(looks: Sequence[Looks]) -> AgreementFigures | None:
    from glimp_local.bench.figures import agreement  # noqa: PLC0415 - scipy, of the extra `bench`

    return agreement(looks)


def _write(pair: Pair, chosen: Cut, file: Path) -> str:
    models_toml.put(file, pair.name, {"threshold": chosen.threshold_nats})
    return str(file)


def _interval(cut: Cut) -> str:
    return "" if cut.low_nats is None else f"({cut.low_nats:.2g} to {cut.high_nats:.2g})"


def _show(found: Calibration) -> None:
    problems = f"{found.problems} problem{'s' * (found.problems != 1)}"
    what = f"{found.pair}, {found.task}" if found.task else found.pair
    shares = f"{units.share(found.share_steps)} of the steps on the large model"
    sent = units.share(found.share_at_threshold)
    rows = sorted({*found.cuts, found.chosen}, key=lambda cut: cut.share)
    lines = [
        f"{what}: {found.glimpses:,} glimpses in {problems}, solved with {shares}",
        "",
        "share of steps   threshold, nats (95% interval)",
        *(f"{units.share(cut.share):>14}   {cut.threshold_nats:<8.4g} {_interval(cut)}" for cut in rows),
        "",
        f"The pair's threshold, {found.threshold_nats:g} nats, sends {sent} of these steps.",
        "The entropies are stored; the policy `share` starts from them.",
    ]
    if found.glimpses < FEW:
        lines.append(f"These are few: solve more problems (--limit), until there are {FEW} glimpses at least.")
    if found.agreement is not None:
        from glimp_local.bench.verdict import agreement_in_words  # noqa: PLC0415 - scipy, of the extra `bench`

        lines.append(agreement_in_words(found.agreement))
    wanted = f"{found.chosen.threshold_nats:g} nats, for {units.share(found.chosen.share)} of the steps"
    if found.written:
        lines.append(f"Written into {found.written}: {wanted}.")
    else:
        lines.append(f"--write puts the threshold of --share into your models.toml: {wanted}.")
    sys.stdout.write(shown_safely("\n".join(lines) + "\n"))
