"""`glimp models`: what models there are, what can be told of them; getting, checking and removing their files."""

from __future__ import annotations

import sys
from typing import Any

import click

from glimp_local.cli.completers import complete_file, complete_pair, complete_pair_or_file
from glimp_local.cli.flags import MODELS_FILE
from glimp_local.cli.help import Command, Group

# Only what `--help` and usage errors need is imported here; the rest is in `cli/run_models.py` and `cli/run_info.py`.

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/json.md).")
_JSON_LINES = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a model (docs/json.md).")
_QUIET = click.option("-q", "--quiet", is_flag=True, help="No progress, and nothing that is not wanted.")

_EPILOG = """\b
Files lie in Hugging Face's own cache, as if `hf download` had put them there: HF_HOME and HF_HUB_CACHE say where that
is. HF_TOKEN (or `hf auth login`), HF_ENDPOINT, HF_HUB_OFFLINE, HTTPS_PROXY and NO_PROXY count as they do there. Only
pull and verify ever open a connection to the hub. Of a pair with a model on a server (`url`), info, compare and
list --check connect to that server, and to no other.

\b
Examples:
  glimp models list
  glimp models pull qwen3-0.6b-4b && glimp chat --pair qwen3-0.6b-4b
  glimp models pull Qwen/Qwen3-4B-GGUF:Q4_K_M
  glimp models verify
  glimp models info Qwen3-4B-Q4_K_M.gguf
  glimp models compare A.gguf B.gguf
  glimp models rm qwen3-0.6b-4b
"""

_INFO_EPILOG = """\b
FILE is a GGUF; of a model split into several files, the first one (NAME-00001-of-00003.gguf). PAIR is a name of
models.toml: both its models are shown. A model on a server is asked what it is: that connects to it, for some seconds
at most.

\b
Examples:
  glimp models info Qwen3-4B-Q4_K_M.gguf
  glimp models info builtin
  glimp models info qwen3-0.6b-4b --json

\b
Exit codes:
  0    shown
  2    there is no pair of that name, or a models.toml cannot be used
  3    a file is missing, is no GGUF, is damaged, or would crash llama.cpp
"""

_COMPARE_EPILOG = """\b
The vocabularies are compared token by token, by the rules a pair goes by when it is loaded. With one vocabulary the
models hand over token ids, and the small one can draft for the large one; else they hand over text, which is read
again. The one with fewer parameters is the small one. A pair with a model on a server is compared by its name: that
connects to the server, for some seconds at most, and has it show its tokens.

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


@click.group(cls=Group, epilog=_EPILOG)
def models() -> None:
    """List, download, verify and remove models; tell what one is, and whether two make a pair."""


@models.command(
    "list",
    cls=Command,
    epilog="""\b
The pair with a star is the one used when none is named. "vocabulary" says whether its two models share one: read from
the files, so it is known of those that are here. Of a model on a server the list shows the place alone, without
connecting; --check asks all servers at the same time what they run, for some seconds at most.

\b
Examples:
  glimp models list
  glimp models list --paths
  glimp models list --check
  glimp models list --json | jq -r '.pairs[] | select(.is_here) | .name'

\b
Exit codes: 0 listed; 1 an error; 2 a models.toml that cannot be used.
""",
)
@click.option("--paths", is_flag=True, help="Where each file is, too.")
@click.option("--check", is_flag=True, help="Connect to the servers that models are on, and show what they run.")
@MODELS_FILE
@_JSON
def list_(**flags: Any) -> None:
    """List the pairs, their files, and other GGUFs in the hub's cache.

    Of each: whether it is built in, in the cache, at a path, there in part, missing, or on a server; its size and its
    licence.
    """
    from glimp_local.cli.run_models import list_models  # noqa: PLC0415 - not needed for --help

    list_models(flags["models_file"], paths=flags["paths"], check=flags["check"], as_json=flags["as_json"])


@models.command(
    cls=Command,
    epilog="""\b
NAME is one of
  a pair of models.toml                       qwen3-0.6b-4b
  a file of a repository on the hub           Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf
  a repository, and a quantisation            Qwen/Qwen3-4B-GGUF:Q4_K_M   (without one where it has a single GGUF)

\b
What models.toml pins (revision, size_bytes, sha256) has to be what comes; anything else is taken from the branch "main"
as it is now. Of a model split into several files name the first one. A download that was cut goes on where it stopped
when the same command is given again. Each file is verified before it counts as there.

\b
Examples:
  glimp models pull qwen3-0.6b-4b
  glimp models pull Qwen/Qwen3-4B-GGUF:Q4_K_M --json
  HF_HOME=/big/disk glimp models pull qwen3-4b-32b

\b
Exit codes:
  0    all is there, verified
  1    an error
  2    a name that cannot be used, or a models.toml
  5    the hub cannot be reached, is too slow or busy for long, or does not give the file; no room on the disk; what
       came was damaged
  130  interrupted (143 by SIGTERM); what came is kept
""",
)
@click.argument(
    "names",
    metavar="NAME...",
    nargs=-1,
    required=True,
    shell_complete=complete_pair,
    help="A pair, a file of a repository, or a repository.",
)
@MODELS_FILE
@_JSON
@_QUIET
def pull(**flags: Any) -> None:
    """Download models into Hugging Face's own cache."""
    from glimp_local.cli.run_models import pull_models  # noqa: PLC0415 - loads the hub's library

    pull_models(flags["names"], flags["models_file"], as_json=flags["as_json"], quiet=flags["quiet"])


@models.command(
    cls=Command,
    epilog="""\b
NAME is a pair, a file of a repository (Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf) or the path of a GGUF; without one, all
pairs that are here, and all other GGUFs in the hub's cache. A file is held against the SHA-256 that models.toml pins,
else against the hub's, under which the cache keeps it. The hub is only asked where neither is known.

\b
Examples:
  glimp models verify
  glimp models verify qwen3-0.6b-4b --json

\b
Exit codes:
  0    all that could be checked is as it should be
  1    a file is damaged; what to do is said
  2    a name that cannot be used, or a models.toml
  3    a model that was named is not here
  5    the hub had to be asked, and cannot be reached
  130  interrupted (143 by SIGTERM)
""",
)
@click.argument(
    "names",
    metavar="[NAME]...",
    nargs=-1,
    shell_complete=complete_pair_or_file,
    help="A pair, a file of a repository, or a path; all that is here without one.",
)
@MODELS_FILE
@_JSON
@_QUIET
def verify(**flags: Any) -> None:
    """Hold files against their SHA-256."""
    from glimp_local.cli.run_models import verify_models  # noqa: PLC0415 - loads the hub's library

    is_fine = verify_models(flags["names"], flags["models_file"], as_json=flags["as_json"], quiet=flags["quiet"])
    sys.exit(0 if is_fine else 1)


@models.command(
    cls=Command,
    epilog="""\b
NAME is a pair, a file of a repository (Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf), or a repository for all that is here
of it. All revisions of a file go, and what is left of its interrupted downloads. Only what is in the hub's cache is
ever removed: no built-in file, and none that models.toml names by its path.

\b
Examples:
  glimp models rm qwen3-0.6b-4b
  glimp models rm Qwen/Qwen3-4B-GGUF --yes

\b
Exit codes: 0 removed; 1 an error, or the answer was no; 2 a name that cannot be used; 3 nothing of it is in the cache.
""",
)
@click.argument(
    "name", metavar="NAME", shell_complete=complete_pair, help="A pair, a file of a repository, or a repository."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@MODELS_FILE
@_JSON
def rm(**flags: Any) -> None:
    """Remove models from Hugging Face's cache, and say how much came free."""
    from glimp_local.cli.run_models import remove_models  # noqa: PLC0415 - not needed for --help

    remove_models(flags["name"], flags["models_file"], yes=flags["yes"], as_json=flags["as_json"])


@models.command(cls=Command, epilog=_INFO_EPILOG)
@click.argument(
    "model", metavar="FILE|PAIR", shell_complete=complete_pair_or_file, help="A GGUF, or a pair for both its models."
)
@MODELS_FILE
@_JSON_LINES
def info(**flags: Any) -> None:
    """Tell what a model is: architecture, parameters, quantisation, vocabulary, context, chat template, memory.

    Only the header of a file is read, and no model loaded. Whether the installed llama.cpp knows the architecture
    shows when it is loaded; a model that would crash it is refused here, too.
    """
    from glimp_local.cli import run_info  # noqa: PLC0415 - only for arguments that are right

    run_info.info(flags["model"], flags["models_file"], as_json=flags["as_json"])


@models.command(cls=Command, epilog=_COMPARE_EPILOG)
@click.argument("one", metavar="FILE|PAIR", shell_complete=complete_pair_or_file, help="A GGUF, or a pair by itself.")
@click.argument("other", metavar="[FILE]", required=False, shell_complete=complete_file, help="The other GGUF.")
@MODELS_FILE
@_JSON
def compare(**flags: Any) -> None:
    """Tell whether two models would make a pair, and what they would hand over: token ids or text.

    Only the headers of the files are read, and no model loaded.
    """
    from glimp_local.cli import run_info  # noqa: PLC0415 - as above

    run_info.compare(flags["one"], flags["other"], flags["models_file"], as_json=flags["as_json"])
