"""`glimp completion`: the script that lets a shell complete what is typed after `glimp`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from glimp_local.cli.help import Command

_EPILOG = """\b
Where it belongs, so that every new shell has it (make the folder first where there is none: mkdir -p):
  bash (4.4 or newer)  glimp completion bash > ~/.local/share/bash-completion/completions/glimp
  zsh                  glimp completion zsh > ~/.zfunc/_glimp
                       and in ~/.zshrc, before compinit: fpath=(~/.zfunc $fpath)
  fish                 glimp completion fish > ~/.config/fish/completions/glimp.fish
  PowerShell           glimp completion powershell >> $PROFILE

\b
Just for the shell at hand:
  eval "$(glimp completion bash)"
  glimp completion fish | source
  glimp completion powershell | Out-String | Invoke-Expression

\b
Exit codes: 0 printed; 2 no such shell.
"""


@click.command(cls=Command, epilog=_EPILOG)
@click.argument(
    "shell",
    type=click.Choice(["bash", "zsh", "fish", "powershell"]),
    metavar="SHELL",
    help="bash, zsh, fish or powershell.",
)
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print the script that lets SHELL complete commands, flags, pairs and conversations.

    The script asks glimp itself at every Tab, so that it knows the pairs of your models.toml and the conversations
    saved last.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click knows these four
    script = kind(ctx.find_root().command, {}, "glimp", "_GLIMP_COMPLETE").source()
    if shell == "fish":  # click's script ends a description at its first comma
        script = script.replace('string split ","', 'string split --max 1 ","')
    click.echo(script)
