"""models.toml, the packaged one and the user's, as typed pairs; and the settings of a run.

Knows nothing about llama.cpp's functions. A value comes from, in rising order: the default in the classes below, the
packaged models.toml, the user's models.toml, the environment (GLIMP_*), a flag. Every setting has its one home and its
explanation here, in `SamplingSettings` or in `EngineOptions`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from glimp_local.errors import ConfigError, UsageError
from glimp_local.inputs import read_limited
from glimp_local.paths import PACKAGE, packaged_file, user_file
from glimp_local.routing import Model, PolicyName

MAX_THREADS = 512  # llama.cpp aborts the process beyond
MAX_LAYERS = 10_000
MAX_CONTEXT = 2**24
MAX_DRAFT = 16
"""Most drafted tokens in one batch."""

Nats = Annotated[float, msgspec.Meta(ge=0)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Threads = Literal["auto"] | Annotated[int, msgspec.Meta(ge=1, le=MAX_THREADS)]


BYTE_ORDER_MARK = "\ufeff"
_MOST_BYTES = 1_000_000
"""Of a models.toml: thousands of pairs take less."""
_MOST_DOTS = 1000
"""In a line: what parses a dotted key takes minutes for a very long one."""


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table whose unknown keys are errors: a misspelt key must not be silently ignored."""


class SamplingSettings(Strict, frozen=True):
    """How a token is drawn from the logits. The defaults are the paper's, with Qwen's advice for top_k."""

    temperature: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.6
    """Divides the logits; 0 always takes the likeliest token."""
    top_k: Natural = 20
    """Keep the k likeliest tokens; 0 keeps all."""
    top_p: Fraction = 0.95
    """Keep the likeliest tokens that together reach this probability; 1 keeps all."""
    min_p: Fraction = 0.0
    """Drop tokens less likely than this share of the likeliest one."""
    repeat_penalty: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    """Divides the logits of recent tokens; 1 is off."""
    presence_penalty: Annotated[float, msgspec.Meta(ge=-100, le=100)] = 0.0
    """Subtracted from the logits of recent tokens; 0 is off."""
    penalty_tokens: Natural = 64
    """How many tokens are recent."""

    @property
    def penalises(self) -> bool:
        """Does sampling depend on the tokens before?"""
        return self.repeat_penalty != 1.0 or self.presence_penalty != 0.0


class EngineOptions(Strict, frozen=True):
    """How a model is loaded."""

    gpu_layers: Literal["auto"] | Annotated[int, msgspec.Meta(ge=-1, le=MAX_LAYERS)] = "auto"
    """Layers on the GPU; -1 is all, 0 is none; "auto" is as many as fit beside the other model's."""
    main_gpu: Natural = 0
    """The GPU that holds the whole model when `split` is "none"."""
    split: Literal["none", "layer", "row"] = "layer"
    """How a model is spread over several GPUs."""
    tensor_split: tuple[float, ...] = ()
    """Proportion of the model on each GPU; empty lets llama.cpp choose."""
    batch: Annotated[int, msgspec.Meta(ge=0, le=16384)] = 0
    """Most tokens of a prompt computed at once; a cancel waits for one batch. 0 takes 512 on a GPU and 128 on a CPU."""
    threads: Threads = "auto"
    """CPU threads for one token at a time. "auto" is one per physical core that may be used (one for a tiny model),
    and fewer while other programs need the cores; a number stays as it is."""
    threads_batch: Threads = "auto"
    """CPU threads for several tokens at once, as in a prompt; "auto" is as many as for one."""
    flash_attention: Literal["auto", "on", "off"] = "auto"
    """Compute attention in one fused pass; "auto" does where the backend can. A rounded cache needs it."""
    cache_type: Literal["auto", "f16", "q8_0", "q4_0"] = "auto"
    """Number type of the KV cache. q8_0 takes 53% of the memory of f16 and q4_0 28%; but they round what the model has
    read (q4_0 too much for some models) and are slower on a CPU. So "auto" is f16, and q8_0 where memory is short."""
    load_mode: Literal["auto", "read", "mmap", "mlock", "mmap+mlock", "direct-io"] = "auto"
    """How the file gets into memory: read, mapped, and locked there or not."""
    extra_buffers: Literal["auto"] | bool = "auto"
    """May llama.cpp keep weights in an order of its own, for its fastest CPU kernels? "auto" does if a proof on small
    matrices has shown that they work on this machine. Without, prompts are read more slowly."""
    swa_full: bool = False
    """Keep the whole cache of sliding-window layers: more memory, but going back needs no second prefill."""

    def __post_init__(self) -> None:
        if self.flash_attention == "off" and self.cache_type in {"q8_0", "q4_0"}:
            raise ValueError(
                f'cache_type "{self.cache_type}" needs flash attention: expected flash_attention "auto" or "on", or '
                'cache_type "f16"'
            )


class ModelSource(Strict, frozen=True):
    """Where one model's GGUF is: a local `path`, or a `file` of a Hugging Face `repo`."""

    path: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """A GGUF on this machine; relative to the models.toml it stands in (in the packaged one, to the package). `~` is
    your home."""
    repo: str | None = None
    """Repository on the Hugging Face hub."""
    revision: str | None = None
    """Full commit hash of the repository; without it, whatever revision is on this machine."""
    file: str | None = None
    """File in the repository; the first one of a model that is split (`name-00001-of-00003.gguf`)."""
    size_bytes: Positive | None = None
    """Size of the file; of all files together, where the model is split."""
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """Hash of the file; of the first one, where the model is split. `glimp models verify` computes it."""
    options: EngineOptions = EngineOptions()
    """How this model is loaded."""


class ThinkingMarkers(Strict, frozen=True):
    """The text that opens and closes a model's thought."""

    open: Annotated[str, msgspec.Meta(min_length=1)]
    close: Annotated[str, msgspec.Meta(min_length=1)]


class RunSettings(Strict, frozen=True):
    """How a question is answered: all that may differ from one run to the next without loading anything."""

    policy: PolicyName = "threshold"
    """Who writes a step: "threshold", "share", "small", "large", "random" or "speculative" (the large model writes
    every step, the small one drafts for it)."""
    threshold: Nats = 1.0
    """Entropy in nats above which the large model writes the step (policy "threshold"). The paper uses 0.9 to 1.0."""
    share: Fraction = 0.25
    """Share of steps for the large model (policies "share" and "random"). The paper recommends 0.2 to 0.3."""
    task: str = ""
    """Kind of task: the entropies glimpsed are stored, and `share` starts from them, by pair and task."""
    top_k: Annotated[int, msgspec.Meta(ge=2)] | None = None
    """Measure the entropy over the k likeliest tokens, renormalised, instead of the whole vocabulary."""
    answer_by: Literal["large", "small", "route"] = "large"
    """Who writes the answer behind the thought."""
    max_step: Positive = 512
    """Tokens of a step; a longer one is cut there, and the next glimpse comes in mid-sentence."""
    max_thought: Positive = 8192
    """Tokens of the thought; then it is closed and the answer written."""
    max_answer: Positive = 2048
    """Tokens of the answer (of the whole reply, for a pair that does not think)."""
    sampling: SamplingSettings = SamplingSettings()
    """How tokens are drawn, for both models."""
    catch_up: Literal["auto", "lazy", "eager"] = "auto"
    """When a model reads what the other one writes: "lazy" when its turn comes, "eager" at once, beside the writing
    (the small model, while it does not draft); "auto" is eager where the two share no device, neither GPU nor CPU."""
    draft: Literal["auto", "off"] | Annotated[int, msgspec.Meta(ge=1, le=MAX_DRAFT)] = "auto"
    """Drafting: the small model (where both have one vocabulary) and the text so far guess at the next tokens, which
    are then computed in one batch. "auto" drafts as many as are measured to pay; a number drafts so many each time."""


class PairConfig(RunSettings, frozen=True):
    """A small and a large model, and how they work together."""

    small: ModelSource | None = None
    large: ModelSource | None = None
    description: str = ""
    licence: str = ""
    only: Literal["counting stories"] | None = None
    """The one kind of question a narrow pair was made for: it warns about others."""
    example: str = ""
    """A question the pair can answer: the chat offers it at first."""
    context: Literal["auto"] | Annotated[int, msgspec.Meta(ge=0, le=MAX_CONTEXT)] = "auto"
    """Tokens of context of each model; 0 takes what it was trained for, and more than that is never taken. "auto" is
    16,384, or fewer where memory is short."""
    thinking: ThinkingMarkers | Literal["auto", "none"] = "auto"
    """Markers of the thought; "auto" finds them in the chat templates, "none" treats the pair as plain."""
    keep_caches_gb: Annotated[float, msgspec.Meta(ge=0)] = 0
    """`glimp chat` keeps the caches of its conversations on the disk, so that a long one goes on without a prefill:
    so many gigabytes at most of all conversations together. 0 keeps none."""
    chat_template: str | None = None
    """A Jinja file used for both models in place of their own templates; relative to the models.toml it stands in."""

    @property
    def run(self) -> RunSettings:
        """The settings of a run, without those of the pair."""
        return RunSettings(**{name: getattr(self, name) for name in RunSettings.__struct_fields__})

    @property
    def models(self) -> tuple[Model, ...]:
        """The models its policy needs, the large one first: where memory is short, it has to say so early."""
        return (self.policy,) if self.policy in {"small", "large"} else ("large", "small")

    def source(self, model: Model) -> ModelSource | None:
        """Say where a model is."""
        return self.small if model == "small" else self.large

    def options(self, model: Model) -> EngineOptions:
        """Say how a model is loaded."""
        source = self.source(model)
        return source.options if source is not None else EngineOptions()


class Catalogue(msgspec.Struct, frozen=True):
    """All pairs known, which one is used when none is named, and which file says so."""

    pairs: dict[str, PairConfig]
    default: str
    """Empty where no file names one: then `choice.py` finds the best one that is there."""
    origins: dict[str, dict[str, Any]]
    """For each pair, the file that each key comes from which a file sets: in the shape of the pair's table."""
    default_from: Path | None
    """None where no file names one."""

    def pair(self, name: str) -> PairConfig:
        """Find a pair by name; raises UsageError with the names that are close."""
        if name in self.pairs:
            return self.pairs[name]
        raise UsageError(f"there is no pair {name!r}{_did_you_mean(name, self.pairs)}", hint=_known(self.pairs))


def load_catalogue(extra: Path | None = None) -> Catalogue:
    """Read the packaged models.toml and over it `extra`, or the user's own where there is one.

    Raises ConfigError naming the file, the key and what was expected.
    """
    if extra is not None and not extra.exists():
        raise ConfigError(f"{extra}: no such file", hint="--models and GLIMP_MODELS want the path of a models.toml")
    files = [packaged_file(), extra or user_file()]
    merged: dict[str, Any] = {}
    origins: dict[str, dict[str, Any]] = {}
    default, default_from = "", None
    for file in files:
        if file.exists():
            tables, named = _read(file)
            if named:
                default, default_from = named, file
            for name, table in tables.items():
                merged[name] = merge(merged.get(name, {}), table)
                origins[name] = merge(origins.get(name, {}), _all_from(file, table))
    pairs = {name: _convert(table, PairConfig, files[-1], f"pairs.{name}") for name, table in merged.items()}
    for name, pair in pairs.items():
        _check_pair(name, pair, files[-1])
    if default and default not in pairs:
        unknown = f"{default_from}: default = {default!r} is no pair{_did_you_mean(default, pairs)}"
        raise ConfigError(unknown, hint=_known(pairs))
    return Catalogue(pairs, default, origins, default_from)


def _all_from(file: Path, table: dict[str, Any]) -> dict[str, Any]:
    """Give a table with the file in the place of each value: merged like the values, it says where they come from."""
    return {key: _all_from(file, value) if isinstance(value, dict) else file for key, value in table.items()}


def _check_pair(name: str, pair: PairConfig, file: Path) -> None:
    """Raise ConfigError where a pair's keys, right one by one, are not enough together."""
    for role, source in (("small", pair.small), ("large", pair.large)):
        if source is None and pair.policy in {"small", "large"} - {role}:
            continue  # the one model is used alone
        if source is None or not (source.path or (source.repo and source.file)):
            raise ConfigError(f"{file}: pairs.{name}.{role} names no model: expected `path`, or `repo` and `file`")


def _read(file: Path) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Read one models.toml, every key and type in it checked, its paths made absolute."""
    try:
        raw = parse_toml(read_toml(file), file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    if unknown := raw.keys() - {"default", "pairs"}:
        key = min(unknown)
        raise ConfigError(
            f"{file}: unknown key `{key}`{_did_you_mean(key, ['default', 'pairs'])}; expected `default` or [pairs.NAME]"
        )
    default = _convert(raw.get("default"), str | None, file, "default")
    tables = _convert(raw.get("pairs", {}), dict[str, dict[str, Any]], file, "pairs")
    base = PACKAGE if file == packaged_file() else file.parent
    for name, table in tables.items():
        _convert(table, PairConfig, file, f"pairs.{name}")
        for holder, key in (
            (table.get("small", {}), "path"),
            (table.get("large", {}), "path"),
            (table, "chat_template"),
        ):
            if key in holder:
                try:
                    holder[key] = str(base / path_of(holder[key]))
                except UsageError as error:
                    raise ConfigError(f"{file}: pairs.{name}: {key} = {error}", hint=error.hint) from error
    return tables, default


def read_toml(file: Path) -> str:
    """Read the text of a models.toml, a byte order mark included; raises ConfigError, and OSError."""
    try:
        return read_limited(file, _MOST_BYTES, str(file)).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} cannot be read: {error}", hint="save it as UTF-8") from error
    except UsageError as error:
        raise ConfigError(str(error), hint="a models.toml takes a few kilobytes: name another one") from error


def parse_toml(text: str, file: Path) -> dict[str, Any]:
    """Parse the text of a models.toml; raises ConfigError for one that is not valid."""
    lines = text.splitlines()
    if deep := next((number for number, line in enumerate(lines, 1) if line.count(".") > _MOST_DOTS), None):
        raise ConfigError(f"{file}: line {deep} has more than {_MOST_DOTS:,} dots: no key is nested as deep")
    try:
        # Editors on Windows begin a file with a mark that TOML does not know.
        return tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except ValueError as error:  # a number that is too long is no TOMLDecodeError
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: its tables or lists are nested too deep", hint="expected [pairs.NAME]") from error


def path_of(text: str) -> Path:
    """Give the path that a user names, `~` spelt out; raises UsageError for a home folder that there is not."""
    if "\0" in text:
        raise UsageError(f"{text!r}: no path holds a null character", hint="give the path of a file")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{text!r}: {error}", hint="give the whole path") from error


def check_settings(settings: dict[str, Any]) -> PairConfig:
    """Check settings of a pair given by a program; raises ConfigError like a models.toml."""
    checked: PairConfig = _convert(settings, PairConfig, Path("settings"), "pair")
    return checked


def _choices(message: str, key: str) -> str:
    """List what a key with a fixed set of words may be."""
    if not message.startswith("Invalid enum value"):
        return ""
    name = key.rpartition(".")[2]
    kinds = (get_type_hints(table).get(name) for table in _TABLES)
    return f"; expected one of: {', '.join(next(filter(None, map(_words, kinds)), []))}"


def _words(kind: Any) -> list[str]:
    """Collect the words of the literals in a type."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [word for inner in get_args(kind) for word in _words(inner)]


def _convert(value: Any, kind: Any, file: Path, where: str) -> Any:
    """Check a TOML value against a type; raise ConfigError with the file, the key and what was expected."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        key = where + path.rstrip("`")
        if message.startswith("Object contains unknown field `"):
            unknown = message.split("`")[1]
            raise ConfigError(f"{file}: {key}: unknown key `{unknown}`{_belongs(unknown)}") from error
        if key.endswith(".draft"):
            message = f'expected "auto", "off" or a number from 1 to {MAX_DRAFT}'
        elif key.endswith((".threads", ".threads_batch")):
            message = f'expected "auto" or a number from 1 to {MAX_THREADS}'
        raise ConfigError(f"{file}: {key}: {message[:1].lower()}{message[1:]}{_choices(message, key)}") from error


_TABLES = (PairConfig, ModelSource, EngineOptions, SamplingSettings)
_KEYS = [key for table in _TABLES for key in table.__struct_fields__]


def _belongs(unknown: str) -> str:
    """Say where a key belongs that is unknown in its table, or which one may be meant."""
    places = {PairConfig: "[pairs.NAME]", ModelSource: "[pairs.NAME.small] or .large", EngineOptions: _OPTIONS}
    table = next((table for table in places if unknown in table.__struct_fields__), None)
    return _did_you_mean(unknown, _KEYS) if table is None else f": it belongs into {places[table]}"


_OPTIONS = "[pairs.NAME.small.options] or [pairs.NAME.large.options]"
_VOID = {
    "path": ("repo", "revision", "file", "size_bytes", "sha256"),
    "repo": ("path", "revision", "file", "size_bytes", "sha256"),
    "file": ("size_bytes", "sha256"),
}
"""Keys of a model that another `path`, `repo` or `file` above them makes void."""


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one table over another, key by key."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            # Another file makes what is pinned of the first one void.
            void = next((keys for named, keys in _VOID.items() if named in value), ())
            merged[key] = merge({k: v for k, v in merged[key].items() if k not in void}, value)
        else:
            merged[key] = value
    return merged


def _known(pairs: Iterable[str]) -> str:
    return f"known pairs: {', '.join(sorted(pairs))}"


def _did_you_mean(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
