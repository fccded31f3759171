"""`glimp doctor`: what glimp finds on this machine, and how many threads suit a pair on it."""

from __future__ import annotations

import sys
from typing import Any

import click

from glimp_local.cli.flags import load_request, loading_options
from glimp_local.cli.help import ENVIRONMENT, Command
from glimp_local.errors import UsageError

# Only what `--help` and usage errors need is imported here; the rest is in `cli/run_doctor.py`.

_EPILOG = f"""\b
Examples:
  glimp doctor
  glimp doctor --json > report.json
  glimp doctor --tune
  glimp doctor --tune --pair qwen3-0.6b-4b
  glimp doctor --tune --small A.gguf --large B.gguf

{ENVIRONMENT}
\b
Exit codes:
  0    nothing needs doing; with --tune: measured
  1    something needs doing, and the report says what; with --tune: an error
  2    a flag, or (with --tune) a models.toml that cannot be used
  3    with --tune: a model is missing or unreadable
  6    llama.cpp, or the system, ended the process: nothing is written then
  130  interrupted (143 by SIGTERM): nothing is written then
"""


@click.command(cls=Command, epilog=_EPILOG)
@click.option("--tune", is_flag=True, help="Measure the threads of a pair and write them into your models.toml.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@loading_options
def doctor(*, tune: bool, as_json: bool, quiet: bool, **loading: Any) -> None:
    """Examine this machine and say what needs doing.

    It looks at llama-cpp-python and its build, at the GPUs and whether work goes to them, at threads, memory, disk and
    folders, models.toml and the pairs that are here, packages and the terminal. Each finding is fine, to know, or needs
    doing. As proof, llama.cpp multiplies small matrices, and the built-in small model writes one token. Servers that
    models.toml names (`url`) are asked what they run, all at the same time; no other connection is opened. Nothing is
    written but which load options work here.

    The report can be put into a bug report as it is: your home folder stands in it as ~, of other folders only the
    first is named (the system's own aside), your name and this machine's are taken out of paths, e-mail addresses and
    tokens out of everything, of servers only the port is there, and of variables only the names.

    --tune also measures, about half a minute for each model of a pair, with how many threads it computes one token at a
    time, and a prompt, fastest. The fewest that come within 3% of the best are written into your models.toml, for that
    pair; for two files (--small, --large) the flags to use are printed. A model on a server is left alone. The costs of
    batches of 1 to 32 tokens are measured and kept, too, also for models on a GPU. Best when nothing else is at work.
    """
    if not tune:
        _refuse_the_flags_of_tune()
    request = load_request(loading)
    from glimp_local.cli.run_doctor import run  # noqa: PLC0415 - `--help` does without

    sys.exit(run(request, tune=tune, as_json=as_json, quiet=quiet))


def _refuse_the_flags_of_tune() -> None:
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
        if given and option.name not in {"as_json", "quiet", "models_file"}:
            raise UsageError(f"{option.opts[0]} has an effect with --tune alone", hint="add --tune")
