"""The flags that choose a pair and its settings: the same for every command that loads one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glimp_local.cli.completers import complete_pair, complete_text_or_file
from glimp_local.cli.help import options_of
from glimp_local.errors import UsageError

if TYPE_CHECKING:
    from glimp_local.load import LoadRequest
    from glimp_local.routing import Model

# Only what `--help` and usage errors need is imported here.

FILE = click.Path(path_type=Path)
_MAX_DRAFT = 16
_LAYERS = click.IntRange(-1, 10_000)
_MAX_THREADS = 512
_SETTINGS = ("threshold", "share", "answer_by", "max_thought", "max_answer", "task", "draft", "catch_up")
"""Flags that have the name of the setting they set."""


class Draft(click.ParamType["str | int"]):
    """How much is drafted: "auto", "off" or a number of tokens."""

    name = "draft"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        """Show in the help what it may be."""
        return "auto|off|K"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Turn the flag's text into a setting."""
        if value in {"auto", "off"}:
            return str(value)
        if not (str(value).isdecimal() and 1 <= int(value) <= _MAX_DRAFT):
            self.fail(f"{value!r} is neither auto nor off nor a number from 1 to {_MAX_DRAFT}", param, ctx)
        return int(value)


class Threads(click.ParamType["str | int"]):
    """A number of CPU threads, or "auto"."""

    name = "threads"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        """Show in the help what it may be."""
        return "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Turn the flag's text into a setting."""
        if value == "auto":
            return "auto"
        if not (str(value).isdecimal() and 1 <= int(value) <= _MAX_THREADS):
            self.fail(f"{value!r} is neither auto nor a number from 1 to {_MAX_THREADS}", param, ctx)
        return int(value)


class Number(click.ParamType[float]):
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


_models, _routing, _writing, _loading, _threads = map(
    options_of, ("Which models", "Routing", "Writing", "Loading", "Threads")
)

MODELS_FILE = _models(
    "--models",
    "models_file",
    type=FILE,
    metavar="FILE",
    envvar="GLIMP_MODELS",
    show_envvar=True,
    help="A models.toml over the packaged one, instead of yours.",
)

SYSTEM = _writing(
    "--system",
    metavar="TEXT|@FILE",
    shell_complete=complete_text_or_file,
    help="System message. @FILE reads it from a UTF-8 file; @@ begins a text that starts with @. An empty one: none.",
)

_NAMES = (
    _models(
        "--pair",
        "name",
        metavar="PAIR",
        envvar="GLIMP_PAIR",
        show_envvar=True,
        shell_complete=complete_pair,
        help="A pair of models.toml (else its default).",
    ),
    _models("--small", type=FILE, metavar="PATH", help="A GGUF as the small model; --large goes with it."),
    _models("--large", type=FILE, metavar="PATH", help="A GGUF as the large model."),
    _models(
        "--small-url",
        metavar="URL",
        help="A server with the small model (llama-server, vLLM); --large-url goes with it.",
    ),
    _models(
        "--large-url",
        metavar="URL",
        help="A server with the large model (llama-server, vLLM, OpenAI's completions), in place of --large or of the "
        "pair's own.",
    ),
    MODELS_FILE,
)

_WRITING = (
    _writing("--answer-by", type=click.Choice(["large", "small", "route"]), help="Who writes the answer."),
    _writing("--max-thought", type=click.IntRange(0), metavar="TOKENS", help="Then the thought is closed; 0: none."),
    _writing("--max-answer", type=click.IntRange(1), metavar="TOKENS", help="Then the answer is cut."),
    _writing("--temperature", type=Number(0, 100), help="Of sampling; 0 takes the likeliest token."),
    _writing(
        "--draft",
        type=Draft(),
        help="Tokens guessed at, to be computed in one batch: as many as are measured to pay, none, or K each time.",
    ),
    _writing(
        "--catch-up",
        type=click.Choice(["auto", "lazy", "eager"]),
        help="A model reads what the other one writes when its turn comes (lazy), or beside the writing (eager).",
    ),
    _writing(
        "--task", metavar="NAME", help="Kind of task; the entropies that `share` starts from are kept by pair and task."
    ),
    _writing(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        help="Random seed. Add --draft off --catch-up lazy --threads N for token-identical runs.",
    ),
)

_LOADING = (
    _loading(
        "--ctx",
        type=click.IntRange(0, 2**24),
        metavar="TOKENS",
        help="Context of each model; 0 is what it was trained for. Without it 16,384, or fewer where memory is short.",
    ),
    _loading(
        "--gpu-layers",
        type=_LAYERS,
        metavar="N",
        help="Layers of each model on the GPU; -1 is all. Without it as many as fit.",
    ),
    _loading("--gpu-layers-small", type=_LAYERS, metavar="N", help="The same for the small model alone."),
    _loading("--gpu-layers-large", type=_LAYERS, metavar="N", help="The same for the large model alone."),
    _loading("--cache-type", type=click.Choice(["auto", "f16", "q8_0", "q4_0"]), help="Number type of the KV cache."),
    _loading(
        "--flash-attention", type=click.Choice(["auto", "on", "off"]), help="Attention in one pass over the cache."
    ),
    _loading("--chat-template", type=FILE, metavar="FILE", help="A Jinja chat template in place of the models' own."),
)

_THREADING = (
    _threads(
        "--threads",
        type=Threads(),
        help="CPU threads of each model. auto (the default) uses fewer while other programs need the cores.",
    ),
    _threads("--threads-small", type=Threads(), help="The same for the small model alone."),
    _threads("--threads-large", type=Threads(), help="The same for the large model alone."),
    _threads("--threads-batch", type=Threads(), help="CPU threads to read prompts with; auto is as --threads."),
    _threads("--threads-batch-small", type=Threads(), help="The same for the small model alone."),
    _threads("--threads-batch-large", type=Threads(), help="The same for the large model alone."),
)

_ROUTING = (
    _routing(
        "--policy",
        type=click.Choice(["threshold", "share", "small", "large", "random", "speculative"]),
        help="Who writes a step. `small` and `large` load one model only; `random` draws at --share; under "
        "`speculative` the large model writes, and the small one drafts for it.",
    ),
    _routing(
        "--threshold",
        type=Number(0),
        metavar="NATS",
        help="Entropy above which the large model writes a step (under `share`: at first).",
    ),
    _routing("--share", type=Number(0, 1), metavar="0..1", help="Aim at this share of steps on the large model."),
)


def pair_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that choose a pair and who writes."""
    return model_options(_with(command, _ROUTING))


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that choose a pair, but not those of routing."""
    return _with(command, _NAMES + _WRITING + _LOADING + _THREADING)


def loading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that choose a pair and how it is loaded, but for the threads."""
    return _with(command, _NAMES + _LOADING)


def planning_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that say which pair, who writes and how it is loaded."""
    return _with(command, _NAMES + _ROUTING + _LOADING)


def _with(command: Callable[..., None], options: tuple[Callable[..., Any], ...]) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command


def load_request(flags: Mapping[str, Any]) -> LoadRequest:
    """Make the request of the flags that say which pair is loaded, and how; raises UsageError where they disagree."""
    from glimp_local.load import LoadRequest  # noqa: PLC0415 - `--help` does without

    policy = flags.get("policy") or _implied_policy(flags)
    for flag, policies in (("threshold", {"threshold", "share"}), ("share", {"share", "random"})):
        if flags.get(flag) is not None and policy is not None and policy not in policies:
            raise UsageError(f"--{flag} has no effect under the policy {policy!r}", hint="leave one of the two out")
    name, small, large = flags["name"], flags["small"], flags["large"]
    small_url, large_url = flags["small_url"], flags["large_url"]
    for model, path, url in (("small", small, small_url), ("large", large, large_url)):
        if path is not None and url is not None:
            raise UsageError(f"--{model} and --{model}-url exclude each other", hint="leave one of the two out")
    given = {"small": small or small_url, "large": large or large_url}
    is_named = name and not (small or large)
    if not is_named and (given["small"] is None) != (given["large"] is None):
        alone, other = ("small", "large") if given["large"] is None else ("large", "small")
        if policy != alone:
            instead = f", or --policy {alone}" if "policy" in flags else ""
            raise UsageError(
                f"there is only a {alone} model",
                hint=f"give both models (--{other} PATH or --{other}-url URL), or a --pair to take it from{instead}",
            )
    if name and (small or large):
        if click.get_current_context().get_parameter_source("name") is not click.core.ParameterSource.ENVIRONMENT:
            raise UsageError("a pair is given by --pair or by --small and --large, not by both")
        name = None
    return LoadRequest(
        name=name,
        small=small,
        large=large,
        small_url=small_url,
        large_url=large_url,
        models_file=flags["models_file"],
        engine_options=_engine_options(flags),
        settings=_settings(flags, policy),
    )


def _implied_policy(flags: Mapping[str, Any]) -> str | None:
    """Return the policy a lone --threshold or --share asks for."""
    given = [flag for flag in ("threshold", "share") if flags.get(flag) is not None]
    if len(given) > 1:
        raise UsageError("--threshold and --share exclude each other", hint="leave one of the two out")
    return given[0] if given else None


def _settings(flags: Mapping[str, Any], policy: str | None) -> dict[str, Any]:
    """Return the settings of the pair that flags set."""
    settings = {
        "policy": policy,
        "context": flags.get("ctx"),
        "chat_template": None if (template := flags.get("chat_template")) is None else str(template),
        **{key: flags.get(key) for key in _SETTINGS},
    }
    if (temperature := flags.get("temperature")) is not None:
        settings["sampling"] = {"temperature": temperature}
    return {key: value for key, value in settings.items() if value is not None}


def _engine_options(flags: Mapping[str, Any]) -> dict[Model, dict[str, Any]]:
    """Return the options each model is loaded with, as far as flags set them."""
    options: dict[Model, dict[str, Any]] = {"small": {}, "large": {}}
    for model, given in options.items():
        for key in ("gpu_layers", "cache_type", "flash_attention", "threads", "threads_batch"):
            own = flags.get(f"{key}_{model}")
            value = flags.get(key) if own is None else own
            if value is not None:
                given[key] = value
    return options
