"""`glimp serve`: a pair behind the interface that other programs speak."""

from __future__ import annotations

import sys
from typing import Any

import click

from glimp_local.cli.flags import Number, load_request, pair_options
from glimp_local.cli.help import ENVIRONMENT, Command

_EPILOG = f"""\b
Examples:
  glimp serve --open
  glimp serve --pair qwen3-0.6b-4b --share 0.2 --port 8080
  glimp serve --host 0.0.0.0 --api-key SECRET

{ENVIRONMENT}  GLIMP_API_KEY              the key that clients need (--api-key counts more)

\b
Exit codes: 1 an error; 2 a flag or a models.toml that cannot be used; 3 a model is missing or unreadable; 130
interrupted (143 by SIGTERM).
"""


@click.command(cls=Command, epilog=_EPILOG)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; any but loopback needs a key."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8089, show_default=True, help="0 takes a free one.")
@click.option("--api-key", metavar="KEY", envvar="GLIMP_API_KEY", help="What clients have to send as Bearer token.")
@click.option("--no-auth", is_flag=True, help="Let everybody who reaches the address use the models.")
@click.option(
    "--queue",
    type=click.IntRange(0, 10_000),
    default=16,
    show_default=True,
    help="Requests that may wait; the next one is told to try again later.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1),
    metavar="N",
    help="Most requests answered at the same time by a pair whose models are all on servers. Without it as many as "
    "the servers do; any other pair answers one.",
)
@click.option(
    "--ping-seconds",
    type=click.FloatRange(0.01, 3600),
    default=10.0,
    show_default=True,
    help="Seconds between the comments that keep an idle stream alive.",
)
@click.option(
    "--cache-ram",
    type=Number(0),
    metavar="GB",
    help="Keep several conversations in memory, so that one continues without a prefill after a request of another. "
    "Total limit in GB; 0: none. Without it 2, or a quarter of what is free.",
)
@click.option(
    "--cors-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Origin whose pages may use the server (https://example.com), besides this machine's; * is any. Repeatable.",
)
@click.option(
    "--all",
    "serves_all",
    is_flag=True,
    help="Serve all pairs on this machine and on servers; each is loaded when it is first asked.",
)
@click.option("--log-content", is_flag=True, help="Log what is asked and answered to stderr, as JSON lines.")
@click.option("--open", "opens", is_flag=True, help="Open the chat page in the browser when the pair is loaded.")
@click.option("-q", "--quiet", is_flag=True, help="Do not log requests.")
@pair_options
def serve(
    *,
    host: str,
    port: int,
    api_key: str | None,
    no_auth: bool,
    queue: int,
    parallel: int | None,
    ping_seconds: float,
    cache_ram: float | None,
    origins: tuple[str, ...],
    log_content: bool,
    opens: bool,
    serves_all: bool,
    quiet: bool,
    seed: int | None,
    **loading: Any,
) -> None:
    """Serve a pair to other programs, over HTTP as OpenAI's API, and to people, as a page to chat on.

    Clients choose by the model's id: PAIR is routed, PAIR:small and PAIR:large are its models alone. Requests are
    answered one after another; a pair whose models are all on servers answers several at once. Nothing of what is asked
    and answered is logged, unless --log-content asks for it.
    """
    request = load_request(loading)
    if cache_ram is not None:
        request = request.changed(cache_ram_gb=cache_ram)
    from glimp_local.cli.run_serve import ServeFlags, run  # noqa: PLC0415 - `--help` does without

    flags = ServeFlags(
        host=host,
        port=port,
        key=api_key,
        no_auth=no_auth,
        queue=queue,
        ping_seconds=ping_seconds,
        origins=origins,
        log_content=log_content,
        opens=opens,
        serves_all=serves_all,
        quiet=quiet,
        parallel=parallel,
        seed=seed,
    )
    sys.exit(run(request, flags))
