"""What `glimp models info` and `glimp models compare` print."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from glimp_local import units
from glimp_local.cli.model_names import named
from glimp_local.cli.terminal import write, write_json
from glimp_local.errors import ModelMissingError, UsageError
from glimp_local.inputs import path_of
from glimp_local.machine.addresses import all_places_of, in_words
from glimp_local.models import compare as comparison
from glimp_local.models import files
from glimp_local.models.catalogue import Catalogue, load_catalogue
from glimp_local.models.gguf.fatal import refuse_fatal
from glimp_local.models.gguf.header import read_header
from glimp_local.models.info import ModelInfo, TemplateInfo, inspect
from glimp_local.routing import MODELS, Model
from glimp_local.settings import ModelSource, PairConfig

if TYPE_CHECKING:
    from glimp_local.machine.servers import ServerState

_WIDEST = 100
"""Characters shown of a text that stands in a file."""
_COLUMN = 40
_LEAST_SHARE = 0.005


def info(name: str, models_file: Path | None, *, as_json: bool) -> None:
    """Print what a model is, or both models of a pair; those on servers are asked."""
    found: list[ModelInfo | ServerState]
    if (config := _on_servers(name, models_file)) is not None:
        from glimp_local.machine.servers import look_at  # noqa: PLC0415 - a file does without

        paths = files.find_all(_file_sources(config), name)
        states = look_at(
            msgspec.structs.replace(config, policy="threshold") if config.small and config.large else config
        )
        local = {model: _inspected(path) for model, path in paths.items()}
        found = [known for model in MODELS if (known := local.get(model) or states.states.get(model)) is not None]
    else:
        found = [_inspected(path) for path in _find(name, models_file)]
    for number, known in enumerate(found):
        if as_json:
            write_json(msgspec.json.encode(known))
            continue
        title = known.name or Path(known.path).name if isinstance(known, ModelInfo) else known.model or known.place
        write(("\n" if number else "") + _cut(title) + "\n")
        rows = {"file": _files(known), **_rows(known)} if isinstance(known, ModelInfo) else server_rows(known)
        for label, value in rows.items():
            write(f"  {label:13} {value}\n")


def _inspected(path: Path) -> ModelInfo:
    header = read_header(path)
    refuse_fatal(header)
    return inspect(header)


def compare(one: str, other: str | None, models_file: Path | None, *, as_json: bool) -> None:
    """Print whether two models would make a pair, or do."""
    if other is None and (config := _on_servers(one, models_file)) is not None:
        _compare_on_servers(one, config, as_json=as_json)
        return
    paths = [path for name in (one, other) if name is not None for path in _find(name, models_file)]
    if len(paths) != 2:  # noqa: PLR2004 - a pair
        raise UsageError("it takes two models to compare", hint="name another file, or one pair")
    found = comparison.compare(*map(read_header, paths))
    if as_json:
        write_json(msgspec.json.encode(found))
        return
    write(f"{_in_line(found.verdict)}\n")
    for notice in found.notices:
        write(f"- {_in_line(notice)}\n")
    alike = {
        "family": found.same_family,
        "vocabulary": found.vocabulary_difference is None,
        "template": found.same_template,
        "thinking": found.same_markers,
    }
    small, large = ({"file": Path(model.path).name, **_rows(model)} for model in (found.small, found.large))
    write("\n")
    _columns("", " ", "small", "large")
    for label in small:
        _columns(label, "=" if alike.get(label) else " ", small[label], large[label])


def _compare_on_servers(name: str, config: PairConfig, *, as_json: bool) -> None:
    from glimp_local.machine.server_pairs import compare_on_servers  # noqa: PLC0415 - files do without

    found = compare_on_servers(name, config)
    if as_json:
        write_json(msgspec.json.encode(found))
        return
    write(f"{_in_line(found.verdict)}\n")
    for notice in found.notices:
        write(f"- {_in_line(notice)}\n")
    alike = {"vocabulary": found.vocabulary_difference is None, "thinking": found.same_markers}
    small, large = (
        {"file": Path(known.path).name, **_rows(known)} if isinstance(known, ModelInfo) else server_rows(known)
        for known in (found.small, found.large)
    )
    write("\n")
    _columns("", " ", "small", "large")
    for label in dict.fromkeys([*small, *large]):
        _columns(label, "=" if alike.get(label) else " ", small.get(label, ""), large.get(label, ""))


def _columns(label: str, sign: str, left: str, right: str) -> None:
    write(f"  {label:13}{sign} {_cut(left, _COLUMN):{_COLUMN}} {_cut(right, _COLUMN)}".rstrip() + "\n")


def _find(name: str, models_file: Path | None) -> list[Path]:
    """Give the path of a file, or those of a pair's models, the small one first."""
    path = path_of(name)
    if os.path.isfile(path):  # noqa: PTH113 - no error for a name that is too long
        return [path]
    catalogue = load_catalogue(models_file)
    is_there = os.path.exists(path)  # noqa: PTH110 - as above
    if name in catalogue.pairs or not (is_there or path.suffix.lower() == ".gguf" or os.sep in name):
        pair = catalogue.pair(name)
        if places := all_places_of(pair):
            raise UsageError(
                f"{name} has models on servers ({in_words(places)})", hint=f"name it alone: glimp models compare {name}"
            )
        return list(files.find_all(_file_sources(pair), name).values())
    found = path if is_there else _cached(catalogue, name)
    if found is not None:
        return [found]
    raise ModelMissingError(f"{name}: no such file", hint="check the path; a pair is given by its name alone")


def _file_sources(pair: PairConfig) -> dict[Model, ModelSource]:
    """Return where the models of a pair are that are files, the small one first."""
    sources = {model: source for model in MODELS if (source := pair.source(model)) is not None}
    return {model: source for model, source in sources.items() if source.url is None}


def _on_servers(name: str, models_file: Path | None) -> PairConfig | None:
    """Return a pair with a model on a server; None for any other name."""
    if os.path.isfile(path_of(name)):  # noqa: PTH113 - no error for a name that is too long
        return None
    config = load_catalogue(models_file).pairs.get(name)
    return config if config is not None and all_places_of(config) else None


def server_rows(found: ServerState) -> dict[str, str]:
    """Give what a server answered in words, by its label."""
    if not found.is_ready:
        return {"server": found.place, "problem": f"{found.problem}{f' ({found.hint})' if found.hint else ''}"}
    context = "not told" if found.context_tokens is None else f"{found.context_tokens:,} tokens"
    if found.trained_context_tokens is not None:
        context += f" ({found.trained_context_tokens:,} trained for)"
    template = found.template
    rows = {
        "server": f"{found.place}, {found.engine}",
        "model": found.model or "not told",
        "context": context,
        "vocabulary": _server_vocabulary(found),
        "template": "the server keeps it" if template is None else f"{template.characters:,} characters",
        "thinking": "not told" if template is None else _thinking_of(template),
        "latency": "not measured" if found.latency_seconds is None else units.duration(found.latency_seconds),
        "slots": "as many as come" if found.slots is None else f"{found.slots:,}",
    }
    return rows if found.warning is None else {**rows, "warning": found.warning}


def _server_vocabulary(found: ServerState) -> str:
    if not found.takes_token_ids:
        return "hidden: text is sent"
    return "shown" if found.vocabulary_tokens is None else f"{found.vocabulary_tokens:,} tokens"


def _cached(catalogue: Catalogue, name: str) -> Path | None:
    """Give the path of a file in the cache by the name that `glimp models list` gives it."""
    try:
        (source,) = named(catalogue, name)
    except (UsageError, ModelMissingError):  # no name of that kind
        return None
    return next(iter(files.look(source).paths), None)


def _in_line(text: str) -> str:
    """Put a text that stands in a file into one line."""
    return " ".join(text.split())


def _cut(text: str, width: int = _WIDEST) -> str:
    """Put a text that stands in a file into one short line; of what steers a terminal, each character counts."""
    line = _in_line(text[: 4 * width])
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _files(found: ModelInfo) -> str:
    parts = f" in {len(found.parts)} files" if len(found.parts) > 1 else ""
    return f"{found.path} ({units.file_size(found.size_bytes)}{parts})"


def _rows(found: ModelInfo) -> dict[str, str]:
    """Give what is told of a model in words, by its label."""
    context = "not said" if found.context_tokens is None else f"{found.context_tokens:,} tokens trained for"
    return {
        "family": _cut(" by ".join(filter(None, (found.basename, found.organisation))) or "not said"),
        "architecture": _architecture(found),
        "parameters": _parameters(found),
        "quantisation": _quantisation(found),
        "context": context,
        "vocabulary": _vocabulary(found),
        "template": _template(found),
        "thinking": _thinking(found),
        "memory": _memory(found),
        "licence": _cut(found.licence or "not said"),
    }


def _architecture(found: ModelInfo) -> str:
    parts = [_cut(found.architecture)]
    if found.layers is not None and found.embedding is not None:
        parts.append(f"{found.layers:,} layers of {found.embedding:,}")
    if found.heads is not None:
        parts.append(f"{found.heads:,} heads ({found.kv_heads:,} of keys and values)")
    return ", ".join(parts)


def _parameters(found: ModelInfo) -> str:
    if not found.parameters:
        return "none: a vocabulary alone"
    text = f"{_count(found.parameters)}, {found.bits_per_parameter:.1f} bits each"
    if found.active_parameters == found.parameters:
        return text
    return (
        f"{text}; {_count(found.active_parameters)} work on a token ({found.experts_used} of {found.experts} experts)"
    )


def _quantisation(found: ModelInfo) -> str:
    whole = sum(share.size_bytes for share in found.types) or 1
    shares = ((share.type, share.size_bytes / whole) for share in found.types)
    mix = ", ".join(f"{type_} {units.share(share)}" for type_, share in shares if share >= _LEAST_SHARE)
    return ": ".join(filter(None, (found.quantisation, mix))) or "not said"


def _vocabulary(found: ModelInfo) -> str:
    vocabulary = found.vocabulary
    if vocabulary is None:
        return "none that glimp knows"
    kind = f"{vocabulary.kind} ({vocabulary.pre_tokenizer})" if vocabulary.pre_tokenizer else vocabulary.kind
    return _cut(f"{vocabulary.tokens:,} tokens, {kind}, ends with {vocabulary.eos or 'nothing'}")


def _template(found: ModelInfo) -> str:
    template = found.template
    if template is None:
        return "none: a question needs one, given with --chat-template"
    return f"{template.characters:,} characters{', speaks of tools' if template.tools else ''}"


def _thinking(found: ModelInfo) -> str:
    return _thinking_of(found.template)


def _thinking_of(template: TemplateInfo | None) -> str:
    if template is None or template.thinking_close is None:
        return "the template marks no thought"
    switch = ", can be switched" if template.can_switch_thinking else ""
    return f"{template.thinking_open} … {template.thinking_close}{switch}"


def _memory(found: ModelInfo) -> str:
    if not found.memory:
        return "not known"
    first, *others = (f"{units.memory_size(at.total_bytes)} at {at.context_tokens:,}" for at in found.memory)
    return ", ".join([f"{first} tokens of context", *others])


def _count(parameters: int) -> str:
    for unit, many in (("billion", 1e9), ("million", 1e6)):
        if parameters >= many:
            return f"{parameters / many:.3g} {unit}"
    return f"{parameters:,}"
