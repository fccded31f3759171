"""`glimp models`: the models on this machine, and what can be told of one from its file."""

from __future__ import annotations

from typing import Any

import click

from glimp_local.cli.flags import FILE

# Only what `--help` and usage errors need is imported here; the rest is in `cli/run_info.py`.

_MODELS_FILE = click.option(
    "--models",
    "models_file",
    type=FILE,
    metavar="FILE",
    envvar="GLIMP_MODELS",
    show_envvar=True,
    help="A models.toml to use instead of your own.",
)
_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object a model; docs/json.md tells its fields."
)

_INFO_EPILOG = """\b
FILE is a GGUF; of a model split into several files, the first one (NAME-00001-of-00003.gguf). PAIR is a name of
models.toml: both its models are shown.

\b
Examples:
  glimp models info Qwen3-4B-Q4_K_M.gguf
  glimp models info builtin
  glimp models info qwen3-0.6b-4b --json

\b
Exit codes:
  0    shown
  2    there is no pair of that name, or a models.toml cannot be used
  3    a file is missing, is no GGUF, or is damaged
"""

_COMPARE_EPILOG = """\b
The vocabularies are compared token by token, by the rules a pair goes by when it is loaded. With one vocabulary the
models hand over token ids, and the small one can draft for the large one; else they hand over text, which is read
anew. The one with fewer parameters is the small one.

\b
Examples:
  glimp models compare Qwen3-0.6B-Q8_0.gguf Qwen3-4B-Q4_K_M.gguf
  glimp models compare qwen3-0.6b-4b
  glimp models compare A.gguf B.gguf --json

\b
Exit codes:
  0    compared, whatever came of it
  2    there is no pair of that name, or a models.toml cannot be used
  3    a file is missing, is no GGUF, or is damaged
"""


@click.group()
def models() -> None:
    """Tell what a model's file holds, and whether two of them would make a pair."""


@models.command(epilog=_INFO_EPILOG, short_help="Tell what a model is.")
@click.argument("model", metavar="FILE|PAIR")
@_MODELS_FILE
@_JSON
def info(**flags: Any) -> None:
    """Tell what a model is: architecture, parameters, quantisation, vocabulary, context, chat template, memory.

    Only the header of the file is read, and no model loaded. Whether the installed llama.cpp knows the architecture
    shows when it is loaded.
    """
    from glimp_local.cli import run_info  # noqa: PLC0415 - only for arguments that are right

    run_info.info(flags["model"], flags["models_file"], as_json=flags["as_json"])


@models.command(epilog=_COMPARE_EPILOG, short_help="Tell whether two models would make a pair.")
@click.argument("one", metavar="FILE|PAIR")
@click.argument("other", metavar="[FILE]", required=False)
@_MODELS_FILE
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; docs/json.md tells its fields.")
def compare(**flags: Any) -> None:
    """Tell whether two models would make a pair, and what they would hand over: token ids or text.

    Only the headers of the files are read, and no model loaded.
    """
    from glimp_local.cli import run_info  # noqa: PLC0415 - as above

    run_info.compare(flags["one"], flags["other"], flags["models_file"], as_json=flags["as_json"])
