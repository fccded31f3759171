"""What a NAME of `glimp models` means: a pair, a file or a repository of the hub, a GGUF at a path."""

from __future__ import annotations

import os
from collections.abc import Sequence

from glimp_local.errors import ModelMissingError, UsageError
from glimp_local.inputs import exists, path_of
from glimp_local.machine.inventory import pinned, sources
from glimp_local.models.catalogue import Catalogue
from glimp_local.models.gguf.header import part_names
from glimp_local.models.hub import cache
from glimp_local.settings import ModelSource


def named(catalogue: Catalogue, name: str) -> list[ModelSource]:
    """Find the models that a name names, which has to name files."""
    if name in catalogue.pairs:
        return of_pair(catalogue, name)
    path = path_of(name)
    if os.path.isfile(path):  # noqa: PTH113 - no error for a name that is too long
        paths = [source for _, source in sources(catalogue) if source.path and exists(source.path)]
        known = [source for source in paths if path.samefile(str(source.path))]
        return known[:1] or [ModelSource(path=str(path))]
    repo, file, _ = place(catalogue, name)
    if file is None:
        raise UsageError(f"{name} names no file", hint="glimp models list names those that are here")
    return [pinned(catalogue, repo, file)]


def to_remove(catalogue: Catalogue, name: str) -> dict[str, list[str] | None]:
    """Find what there is to remove for a name: files by their repository, None for all of it."""
    if name in catalogue.pairs:
        chosen = of_pair(catalogue, name)
    else:
        repo, file, quant = place(catalogue, name)
        if quant is not None:
            raise UsageError(f"{name} names no file", hint="glimp models list names those that are here")
        if file is None:
            if not cache.repo_folder(repo).exists():
                raise ModelMissingError(f"nothing of {repo} is in {cache.root()}", hint="see: glimp models list")
            return {repo: None}
        chosen = [ModelSource(repo=repo, file=file)]
    found: dict[str, list[str] | None] = {}
    for source in chosen:
        if source.path is not None:
            continue
        assert source.repo is not None
        assert source.file is not None
        # Another revision than the pinned one may be here: whatever goes by this name.
        parts = part_names(source.file)
        is_cached = any(file.file in parts for file in cache.files(source.repo))
        if is_cached or any(cache.partials(source.repo, part) for part in parts):
            found[source.repo] = [*(found.get(source.repo) or []), source.file]
    if not found:
        raise ModelMissingError(f"nothing of {name} is in {cache.root()}", hint=_where(chosen))
    return found


def _where(chosen: Sequence[ModelSource]) -> str:
    """Say where models are that are not in the cache."""
    if not chosen:
        return "its models are on servers: never removed"
    if any(source.path for source in chosen):
        return "at a path, or built in: never removed"
    return "see: glimp models list"


def of_pair(catalogue: Catalogue, name: str) -> list[ModelSource]:
    """Give the models of a pair that are files."""
    pair = catalogue.pairs[name]
    return [source for source in (pair.small, pair.large) if source is not None and source.url is None]


def place(catalogue: Catalogue, name: str) -> tuple[str, str | None, str | None]:
    """Take MAKER/NAME/FILE.gguf or MAKER/NAME:QUANT apart; raises UsageError for a name that is neither, nor a pair."""
    if "/" not in name and name.lower().endswith(".gguf"):
        raise ModelMissingError(f"{name}: no such file", hint="check the path")
    if "/" not in name:
        try:
            catalogue.pair(name)
        except UsageError as error:
            hint = f"{error.hint}; a model on the hub is MAKER/NAME/FILE.gguf or MAKER/NAME:QUANT"
            raise UsageError(str(error), hint=hint) from error
    text, _, quant = name.partition(":")
    maker, _, rest = text.partition("/")
    short, _, file = rest.partition("/")
    is_file = name.lower().endswith(".gguf")
    if not maker or not short or bool(file) != is_file or not {"", ".", ".."}.isdisjoint(text.split("/")):
        raise UsageError(
            f"{name!r} names neither a pair nor a model on the hub",
            hint="expected a pair, MAKER/NAME/FILE.gguf or MAKER/NAME:QUANT, as in Qwen/Qwen3-4B-GGUF:Q4_K_M",
        )
    return f"{maker}/{short}", file or None, quant or None
