"""`glimp solve`: one problem in, one answer out. For scripts and pipes."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glimp_local.errors import UsageError

if TYPE_CHECKING:
    from glimp_local.routing import Model

# Only what `--help` and usage errors need is imported here; the run itself is in `cli/run.py`.

_EPILOG = """\b
Examples:
  glimp solve problem.txt
  glimp solve --text "How many primes are there below 30?" --thoughts
  cat problem.txt | glimp solve - --share 0.2 --json > run.json
  glimp solve problem.txt --small A.gguf --large B.gguf --threshold 0.8

\b
Exit codes:
  0    the answer is complete
  1    an error
  2    a flag, an input or a models.toml that cannot be used
  3    a model is missing or unreadable
  4    a budget (tokens, context) was spent before the answer was complete
  130  interrupted (143 by SIGTERM); what was written is on stdout and in --save
"""


class _Number(click.ParamType[float]):
    """A finite number in a range, said in words when it is not."""

    name = "number"

    def __init__(self, low: float, high: float = math.inf) -> None:
        self._low, self._high = low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Turn the flag's text into a number."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and self._low <= number <= self._high):
            span = f"from {self._low:g} to {self._high:g}" if math.isfinite(self._high) else f"{self._low:g} or more"
            self.fail(f"{value!r} is not a number {span}", param, ctx)
        return number


_FILE = click.Path(path_type=Path)
_LAYERS = click.IntRange(-1, 10_000)


@click.command(epilog=_EPILOG)
@click.argument("file", required=False, metavar="[FILE|-]")
@click.option("--text", help="The problem itself, instead of a file.")
@click.option("--pair", "name", envvar="GLIMP_PAIR", show_envvar=True, help="A pair of models.toml (else its default).")
@click.option(
    "--small", type=_FILE, metavar="PATH", help="A GGUF as the small model, with --large (or --policy small)."
)
@click.option("--large", type=_FILE, metavar="PATH", help="A GGUF as the large model.")
@click.option(
    "--models",
    "models_file",
    type=_FILE,
    metavar="FILE",
    envvar="GLIMP_MODELS",
    show_envvar=True,
    help="A models.toml over the packaged one, instead of yours.",
)
@click.option(
    "--policy",
    type=click.Choice(["threshold", "share", "small", "large", "random"]),
    help="Who writes a step. `small` and `large` load one model only; `random` draws at --share.",
)
@click.option(
    "--threshold",
    type=_Number(0),
    metavar="NATS",
    help="Entropy above which the large model writes a step (under `share`: at first).",
)
@click.option("--share", type=_Number(0, 1), metavar="0..1", help="Aim at this share of steps on the large model.")
@click.option("--answer-by", type=click.Choice(["large", "small", "route"]), help="Who writes the answer.")
@click.option("--max-thought", type=click.IntRange(1), metavar="TOKENS", help="Then the thought is closed.")
@click.option("--max-answer", type=click.IntRange(1), metavar="TOKENS", help="Then the answer is cut.")
@click.option("--temperature", type=_Number(0, 100), help="Of sampling; 0 takes the likeliest token.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Makes a run repeatable.")
@click.option(
    "--ctx",
    type=click.IntRange(0, 2**24),
    metavar="TOKENS",
    help="Context of each model; 0 is what it was trained for.",
)
@click.option("--gpu-layers", type=_LAYERS, metavar="N", help="Layers of each model on the GPU; -1 is all.")
@click.option("--gpu-layers-small", type=_LAYERS, metavar="N", help="The same for the small model alone.")
@click.option("--gpu-layers-large", type=_LAYERS, metavar="N", help="The same for the large model alone.")
@click.option(
    "--threads", type=click.IntRange(0, 512), metavar="N", help="CPU threads of each model; 0 lets glimp choose."
)
@click.option("--chat-template", type=_FILE, metavar="FILE", help="A Jinja chat template in place of the models' own.")
@click.option("--thoughts", is_flag=True, help="Show each step on stderr: letter, colour, entropy, text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the answer.")
@click.option("--jsonl", "as_jsonl", is_flag=True, help="Print one JSON event a line, as it happens.")
@click.option("--save", type=_FILE, metavar="FILE", help="Write every event to this new file, as with --jsonl.")
@click.option("-q", "--quiet", is_flag=True, help="No status line and no figures on stderr.")
def solve(**flags: Any) -> None:
    """Solve the problem in FILE (- is stdin) and print the answer.

    The answer goes to stdout as it is written; everything else goes to stderr. Settings come from the packaged
    models.toml, over it from yours, over it from these flags.
    """
    problem = _read_problem(flags["file"], flags["text"])
    settings = _settings(flags)
    _check_save(flags["save"], flags["file"])
    if flags["as_json"] and flags["as_jsonl"]:
        raise UsageError("--json and --jsonl exclude each other")
    from glimp_local.cli.run import run  # noqa: PLC0415 - loads llama.cpp: only for flags that are right

    sys.exit(run(problem, settings, _engine_options(flags), flags))


def _read_problem(file: str | None, text: str | None) -> str:
    """Read the problem from the one place it was given in."""
    if text is not None:
        if file is not None:
            raise UsageError("the problem is given by FILE or by --text, not by both")
        # The bytes that were typed: in a locale that is not UTF-8, Python cannot have understood them.
        where, raw = "--text", os.fsencode(text)
    elif file is None and sys.stdin.isatty():
        raise UsageError("there is no problem to solve", hint="name a FILE, give - and type it, or use --text")
    else:
        where = "stdin" if file in {None, "-"} else str(file)
        try:
            raw = sys.stdin.buffer.read() if file in {None, "-"} else Path(str(file)).read_bytes()
        except OSError as error:
            raise UsageError(f"{where} cannot be read: {error.strerror}") from error
    try:
        problem = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{where} is not UTF-8 text (byte {raw[error.start]:#04x} at offset {error.start:,})",
            hint="convert it to UTF-8, for example with iconv",
        ) from error
    if not problem.strip():
        raise UsageError(f"{where} is empty")
    return problem.strip()


def _check_save(save: Path | None, file: str | None) -> None:
    """Refuse to write a run over its own problem, or into a file called "-"."""
    if save is None:
        return
    if str(save) == "-":
        raise UsageError("--save wants a file", hint="--jsonl writes the events to stdout")
    if file not in {None, "-"} and save.exists() and save.samefile(str(file)):
        raise UsageError(f"--save {save} is the problem itself", hint="choose another file")


def _settings(flags: dict[str, Any]) -> dict[str, Any]:
    """Turn the flags that were given into settings of the pair."""
    policy = flags["policy"] or _implied_policy(flags)
    for flag, policies in (("threshold", {"threshold", "share"}), ("share", {"share", "random"})):
        if flags[flag] is not None and policy is not None and policy not in policies:
            raise UsageError(f"--{flag} has no effect under the policy {policy!r}", hint="leave one of the two out")
    if (flags["small"] is None) != (flags["large"] is None):
        alone = "small" if flags["large"] is None else "large"
        if policy != alone:
            raise UsageError(f"there is only a {alone} model", hint=f"give both models, or --policy {alone}")
    if flags["name"] and (flags["small"] or flags["large"]):
        if click.get_current_context().get_parameter_source("name") is not click.core.ParameterSource.ENVIRONMENT:
            raise UsageError("a pair is given by --pair or by --small and --large, not by both")
        flags["name"] = None
    settings = {
        "policy": policy,
        "context": flags["ctx"],
        "chat_template": flags["chat_template"] and str(flags["chat_template"]),
        **{key: flags[key] for key in ("threshold", "share", "answer_by", "max_thought", "max_answer")},
    }
    if flags["temperature"] is not None:
        settings["sampling"] = {"temperature": flags["temperature"]}
    return {key: value for key, value in settings.items() if value is not None}


def _implied_policy(flags: dict[str, Any]) -> str | None:
    """Give the policy a lone --threshold or --share asks for."""
    if flags["threshold"] is not None and flags["share"] is not None:
        raise UsageError("--threshold and --share exclude each other", hint="leave one of the two out")
    return next((flag for flag in ("threshold", "share") if flags[flag] is not None), None)


def _engine_options(flags: dict[str, Any]) -> dict[Model, dict[str, int]]:
    """Give the options each model is loaded with, as far as flags say so."""
    options: dict[Model, dict[str, int]] = {"small": {}, "large": {}}
    for model, given in options.items():
        own = flags[f"gpu_layers_{model}"]
        values = {
            "threads": flags["threads"],
            "gpu_layers": flags["gpu_layers"] if own is None else own,
        }
        given.update({key: value for key, value in values.items() if value is not None})
    return options
