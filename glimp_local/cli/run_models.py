"""The work behind `glimp models`."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from glimp_local import units
from glimp_local.cli.byte_bars import ByteBars
from glimp_local.cli.model_names import named, of_pair, place, to_remove
from glimp_local.cli.terminal import say_that_it_measures, write, write_json
from glimp_local.errors import BindingError, CancelledError, ModelError
from glimp_local.machine.addresses import all_places_of, in_words
from glimp_local.machine.forecast import Forecaster
from glimp_local.machine.inventory import FileEntry, Inventory, PairEntry, pinned, sources, take_stock, with_servers
from glimp_local.machine.survey import survey
from glimp_local.models import files as model_files
from glimp_local.models.catalogue import Catalogue, load_catalogue
from glimp_local.models.gguf.header import part_names
from glimp_local.models.hub import cache
from glimp_local.models.hub.fetch import Pulled, fetch
from glimp_local.models.hub.remove import remove
from glimp_local.models.hub.verify import Verified, missing, verify
from glimp_local.settings import ModelSource
from glimp_local.text import harmless

if TYPE_CHECKING:
    from glimp_local.machine.servers import ServerState
    from glimp_local.models.hub.partial import Wait


class Pull(msgspec.Struct, frozen=True):
    """What `glimp models pull --json` prints."""

    files: list[Pulled]


class Verification(msgspec.Struct, frozen=True):
    """What `glimp models verify --json` prints."""

    files: list[Verified]
    is_fine: bool
    """False where a file is not what it should be."""


class Removal(msgspec.Struct, frozen=True):
    """What `glimp models rm --json` prints."""

    files: list[str]
    """What was removed: a repository and the file in it each, or a repository for all of it."""
    freed_bytes: int


def list_models(models_file: Path | None, *, paths: bool, check: bool, as_json: bool) -> None:
    """Say what models there are, and what to expect of the pairs here; `check` connects to their servers."""
    stock = _with_forecasts(take_stock(models_file), models_file)
    if check:
        stock = with_servers(stock, load_catalogue(models_file))
    if as_json:
        write_json(msgspec.json.encode(stock))
        return
    for line in _table(stock, paths=paths):
        write(line.rstrip() + "\n")


def _with_forecasts(stock: Inventory, models_file: Path | None) -> Inventory:
    catalogue = load_catalogue(models_file)
    try:
        forecaster = Forecaster(survey(), on_measuring=say_that_it_measures)
        pairs = [
            msgspec.structs.replace(entry, expected=forecaster.forecast(catalogue.pairs[entry.name]).in_words())
            for entry in stock.pairs
        ]
    except BindingError:  # files can be looked at without llama.cpp; whoever loads a pair is told
        return stock
    return msgspec.structs.replace(stock, pairs=pairs)


def pull_models(names: Sequence[str], models_file: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Download what is not here of the models named."""
    cache.settings()  # what cannot be read of them is said before the library is loaded
    catalogue = load_catalogue(models_file)
    with (
        _interruptible("what came is kept, and the same command continues from there"),
        ByteBars(quiet=quiet) as bars,
    ):
        wanted = [source for name in names for source in _wanted(catalogue, name, bars.wait)]
        pulled = fetch(wanted, bars.begin, bars.say, bars.wait)
    if as_json:
        write_json(msgspec.json.encode(Pull(pulled)))
    if not quiet:
        for line in _on_servers(catalogue, names):
            click.echo(harmless(line), err=True)
        click.echo(harmless(_next(catalogue, names, pulled)), err=True)


def verify_models(names: Sequence[str], models_file: Path | None, *, as_json: bool, quiet: bool) -> bool:
    """Hold files against their hashes; tell whether all are fine."""
    catalogue = load_catalogue(models_file)
    chosen, problems = (_named_here(catalogue, names), []) if names else _all_here(catalogue, models_file)
    found = [] if names else missing()
    for verified in [] if as_json else found:
        write(_line(verified) + "\n")
    with _interruptible("nothing was changed"), ByteBars(quiet=quiet, lines=False) as bars:
        for source in model_files.distinct(chosen):
            for verified in verify(source, model_files.look(source).paths, bars.begin, bars.wait):
                found.append(verified)
                if not as_json:
                    write(_line(verified) + "\n")
    bad = [file for file in found if file.status not in {"ok", "unknown"}]
    is_fine = not bad and not problems
    if as_json:
        write_json(msgspec.json.encode(Verification(found, is_fine)))
    for line in _on_servers(catalogue, names):
        click.echo(harmless(line), err=True)
    for error in problems:
        click.echo(harmless(f"glimp: {error}\nhint: {error.hint}"), err=True)
    for hint in dict.fromkeys(map(_mend, bad)):
        click.echo(harmless(f"hint: {hint}"), err=True)
    return is_fine


def _named_here(catalogue: Catalogue, names: Sequence[str]) -> list[ModelSource]:
    chosen = [source for name in names for source in named(catalogue, name)]
    for source in chosen:
        if not model_files.look(source).paths:
            model_files.find(source)  # says what is missing
    return chosen


def _all_here(catalogue: Catalogue, models_file: Path | None) -> tuple[list[ModelSource], list[ModelError]]:
    """Find the models that there are, and what is wrong with the names of others."""
    chosen, problems = [], []
    for _, source in sources(catalogue):
        try:
            model_files.look(source)
        except ModelError as error:
            problems.append(error)
        else:
            chosen.append(source)
    others = take_stock(models_file).others
    return chosen + [source for entry in others if entry.path for source in named(catalogue, entry.name)], problems


def remove_models(name: str, models_file: Path | None, *, yes: bool, as_json: bool) -> None:
    """Remove a pair, a file or a repository from the cache."""
    catalogue = load_catalogue(models_file)
    chosen = to_remove(catalogue, name)
    removed = []
    for repo, files in chosen.items():
        removed += [f"{repo}/{file}" for file in files] if files else [repo]
        for file in files or []:
            users = [pair for pair, source in sources(catalogue) if (source.repo, source.file) == (repo, file)]
            if others := [pair for pair in dict.fromkeys(users) if pair != name]:
                click.echo(harmless(f"glimp: {repo}/{file} is of {', '.join(others)}, too"), err=True)
    if not yes:
        click.confirm(harmless(f"remove {', '.join(removed)} from {cache.root()}?"), abort=True, err=True)
    freed = remove(
        {
            repo: None if files is None else [part for file in files for part in part_names(file)]
            for repo, files in chosen.items()
        }
    )
    if as_json:
        write_json(msgspec.json.encode(Removal(removed, freed)))
    else:
        click.echo(harmless(f"removed {', '.join(removed)}: {units.file_size(freed)} are free again"), err=True)


def _wanted(catalogue: Catalogue, name: str, wait: Wait) -> list[ModelSource]:
    """Find what is to be downloaded for a name; asks the hub where it names no file."""
    if name in catalogue.pairs:
        return of_pair(catalogue, name)
    repo, file, quant = place(catalogue, name)
    if file is None:
        from glimp_local.models.hub import pull as hub  # noqa: PLC0415 - see above

        file = hub.choose(repo, quant, wait)
    return [pinned(catalogue, repo, file)]


def _on_servers(catalogue: Catalogue, names: Sequence[str]) -> Iterator[str]:
    """Say which models of the pairs named are on servers, so that there is no file of theirs."""
    for name in names:
        if name in catalogue.pairs and (places := all_places_of(catalogue.pairs[name])):
            yield f"{name}: no file of the model on a server: {in_words(places)}"


def _next(catalogue: Catalogue, names: Sequence[str], pulled: Sequence[Pulled]) -> str:
    pair = next((name for name in names if name in catalogue.pairs), None)
    if pair is not None:
        return f"all is here; next: glimp chat --pair {shlex.quote(pair)}"
    return (
        f"all is here; next, with another model beside it: glimp chat --large {shlex.quote(pulled[0].path)} --small ..."
    )


def _mend(file: Verified) -> str:
    if cache.origin(Path(file.path)) is None:
        return (
            f"get {file.name} again from where it came; "
            "a built-in one comes with: pip install --force-reinstall glimp-local"
        )
    by_path = cache.origin(Path(file.name).absolute())
    name = "/".join(by_path) if by_path else file.name
    return f"glimp models rm {shlex.quote(name)} --yes && {model_files.pull_command(name)}"


def _line(file: Verified) -> str:
    told = {"models.toml": "models.toml pins it", "cache": "the hub's cache says so", "hub": "the hub says so"}
    match file.status:
        case "ok":
            return f"ok          {file.path} ({told[file.told_by or 'hub']})"
        case "unknown":
            return f"unknown     {file.path}: nobody has told what it should be"
        case "damaged":
            return f"damaged     {file.path}: no whole GGUF (glimp models info says why)"
        case "missing":
            return f"missing     {file.path}: a link to nothing"
        case "wrong size":
            return f"wrong size  {file.path}: {file.size_bytes:,} bytes, expected {file.expected_bytes or 0:,}"
        case "wrong hash":
            return f"wrong hash  {file.path}: {file.hash}, expected {file.expected_hash}"


def _table(stock: Inventory, *, paths: bool) -> Iterator[str]:
    width = max(len(pair.name) for pair in stock.pairs)
    for pair in stock.pairs:
        yield from _pair_rows(pair, width, paths=paths)
    if not all(pair.is_here for pair in stock.pairs):
        yield ""
        yield "glimp models pull NAME downloads a pair that is not here."
    if stock.others:
        yield ""
        yield "Other GGUFs in the hub's cache, for --small PATH and --large PATH (--paths shows where they are):"
        for entry in stock.others:
            yield f"    {_row(entry)}"
            if paths and entry.path:
                yield f"    {entry.path}"


def _pair_rows(pair: PairEntry, width: int, *, paths: bool) -> Iterator[str]:
    star = "*" if pair.is_default else " "
    shares = {True: "one vocabulary", False: "two vocabularies", None: ""}[pair.shares_vocabulary]
    origin = {"packaged": "", "changed": "changed by your models.toml", "yours": "of your models.toml"}[pair.origin]
    facts = [*_presence(pair), pair.licence, shares, origin]
    yield f"{star} {pair.name:{width}}  {', '.join(filter(None, facts))}"
    if pair.expected is not None:
        yield f"    {pair.expected}"
    for model, entry in (("small", pair.small), ("large", pair.large)):
        if entry is not None:
            yield f"    {model}  {_row(entry)}"
            if paths and entry.path and entry.path != entry.name:
                yield f"           {entry.path}"
            if entry.server is not None:
                yield from _answer(entry.server)


def _presence(pair: PairEntry) -> Iterator[str]:
    """Say how large a pair's files are, whether they are here, and which models are on servers."""
    models = sum(entry is not None for entry in (pair.small, pair.large))
    if len(pair.places) < models:
        yield _size(pair.size_bytes)
        yield "here" if pair.is_here else "not here"
    if pair.places:
        yield in_words(pair.places, alone=len(pair.places) == models)


def _answer(server: ServerState) -> Iterator[str]:
    """Show what a server answered."""
    yield f"           {server.in_words()}{f' ({server.hint})' if server.hint else ''}"
    if server.warning is not None:
        yield f"           {server.warning}"


def _row(entry: FileEntry) -> str:
    if entry.place is not None:
        return f"{'':>8}  {entry.state:13}  {entry.name}"
    state = f"{_size(entry.here_bytes)} here" if entry.state == "partial" else entry.state
    return f"{_size(entry.size_bytes):>8}  {state:13}  {entry.name}"


def _size(size_bytes: int | None) -> str:
    return "?" if size_bytes is None else units.file_size(size_bytes)


@contextmanager
def _interruptible(what_holds: str) -> Iterator[None]:
    """Have Ctrl-C and a polite kill end the work at once, even where it waits for the network, with its exit code."""
    number = signal.SIGINT

    def stop(got: int, _frame: object) -> None:
        nonlocal number
        number = signal.Signals(got)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        error = CancelledError(f"interrupted: {what_holds}")
        error.exit_code = 128 + number
        raise error from None
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
