"""What `glimp serve` does: open the address, load the pair, and answer until it is interrupted."""

from __future__ import annotations

import asyncio
import json
import shlex
import socket
import sys
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import click

from glimp_local.cli.browser import open_page
from glimp_local.errors import CancelledError, GlimpError, UsageError
from glimp_local.load import LoadRequest, configured
from glimp_local.machine.choice import pairs_here
from glimp_local.models.catalogue import Catalogue, load_catalogue

if TYPE_CHECKING:
    from glimp_local.server.wire import Ready

_PACKAGES = ("starlette", "uvicorn")


class ServeFlags(NamedTuple):
    """The command's own flags."""

    host: str
    port: int
    key: str | None
    no_auth: bool
    queue: int
    ping_seconds: float
    origins: tuple[str, ...]
    log_content: bool
    opens: bool
    serves_all: bool
    quiet: bool
    parallel: int | None
    seed: int | None


def run(request: LoadRequest, flags: ServeFlags) -> int:
    """Serve until a signal comes; return the exit code."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise GlimpError(
            f"glimp serve needs {' and '.join(missing)}, which are not installed",
            hint="pip install 'glimp-local[serve]' (in a clone: pip install '.[serve]')",
        )
    from glimp_local.server.guard import is_loopback  # noqa: PLC0415 - may not be installed

    if flags.key is not None and not flags.key.strip():
        raise UsageError("the API key is empty (--api-key, or GLIMP_API_KEY)", hint="give a key that nobody guesses")
    if flags.key is not None and flags.no_auth:
        raise UsageError("--no-auth lets everybody in, and a key keeps others out", hint="leave one of the two out")
    if not (is_loopback(flags.host) or flags.key or flags.no_auth):
        raise UsageError(
            f"{flags.host} can be reached from other machines, and no key protects the models",
            hint="give --api-key or set GLIMP_API_KEY; --no-auth lets everybody in",
        )
    requests = _requests(request, serves_all=flags.serves_all)
    catalogue = load_catalogue(request.models_file)
    elsewhere = {name for name, one in requests.items() if _is_elsewhere(one, catalogue)}
    with _listen(flags.host, flags.port) as listener:
        return asyncio.run(_serve(requests, elsewhere, flags, listener))


def _requests(request: LoadRequest, *, serves_all: bool) -> dict[str, LoadRequest]:
    """Return what to load for each name, the first one at once; what is wrong is said before an address is taken."""
    catalogue = load_catalogue(request.models_file)
    name, _ = configured(request, catalogue)
    others = [other for other in pairs_here(catalogue) if other != name] if serves_all else []
    return {name: request, **{other: request.named(other) for other in others}}


def _is_elsewhere(request: LoadRequest, catalogue: Catalogue) -> bool:
    """Are all models of a pair on servers?"""
    if request.is_default and not catalogue.default:
        return False  # one is chosen for which there is memory here
    try:
        _, config = configured(request, catalogue)
    except GlimpError:  # whoever asks it hears why
        return False
    return not config.local_models


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
    except OSError as error:
        listener.close()
        raise GlimpError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            hint="--port 0 takes a free port, and --host an address of this machine",
        ) from error
    return listener


async def _serve(
    requests: Mapping[str, LoadRequest], elsewhere: Collection[str], flags: ServeFlags, listener: socket.socket
) -> int:
    from glimp_local.server.app import Server  # noqa: PLC0415 - may not be installed
    from glimp_local.server.http import serve  # noqa: PLC0415 - may not be installed
    from glimp_local.server.line import Line  # noqa: PLC0415 - may not be installed
    from glimp_local.server.metrics import Metrics  # noqa: PLC0415 - may not be installed
    from glimp_local.server.options import ServerOptions  # noqa: PLC0415 - may not be installed
    from glimp_local.server.pairs import Pairs  # noqa: PLC0415 - may not be installed

    def welcome(ready: Ready) -> None:
        address = _address(flags.host, listener.getsockname()[1])
        for line in _welcome(flags, address, ready):
            click.echo(line, err=True)
        if flags.opens:
            open_page(f"{address}/")

    options = ServerOptions(
        flags.host,
        flags.key,
        origins=flags.origins,
        ping_seconds=flags.ping_seconds,
        seed=flags.seed,
        logs_content=flags.log_content,
    )
    line = Line(most_waiting=flags.queue, metrics=Metrics(), most_parallel=flags.parallel)
    pairs = Pairs(requests, line, elsewhere=elsewhere)
    server = Server(pairs, options)
    stopped_by = await serve(server, listener, on_ready=welcome, shows_requests=not flags.quiet)
    return 128 + stopped_by if stopped_by else CancelledError.exit_code


def _address(host: str, port: int) -> str:
    """Return where a browser on this machine finds the server."""
    host = f"[{host.strip('[]')}]" if ":" in host else host
    return f"http://{'localhost' if host in {'0.0.0.0', '[::]'} else host}:{port}"  # noqa: S104 - compared, not bound


def _welcome(flags: ServeFlags, address: str, ready: Ready) -> list[str]:
    from glimp_local.server.names import listed  # noqa: PLC0415 - may not be installed

    key = ' -H "Authorization: Bearer $GLIMP_API_KEY"' if flags.key else ""
    asked = {"model": ready.pair, "messages": [{"role": "user", "content": ready.example}]}
    body = shlex.quote(json.dumps(asked, ensure_ascii=False))
    lines = [f"glimp: {notice}" for notice in ready.notices]
    if flags.no_auth and not flags.key:
        lines.append("glimp: WARNING: --no-auth: everybody who reaches this address can use the models")
    parallel = min(ready.parallel, flags.parallel or ready.parallel)
    if (flags.parallel or 1) > parallel:
        why = "it has a model on this machine" if ready.computes_here else "its servers do no more"
        lines.append(f"glimp: --parallel {flags.parallel}: {ready.pair} answers {parallel} at a time, since {why}")
    return [
        *lines,
        *([f"requests answered at the same time: {parallel}"] if parallel > 1 else []),
        *(
            f"the {model} model is on {one.where}: conversations are sent there"
            for model, one in ready.models.items()
            if one.is_remote
        ),
        f"serving {address}/v1",
        f"chat in the browser: {address}/",
        f"models: {', '.join(listed(ready))}",
        f"try: curl {address}/v1/chat/completions{key} -H 'Content-Type: application/json' -d {body}",
        "Ctrl-C stops.",
    ]
