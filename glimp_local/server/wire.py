"""What the server and a worker say to each other: one JSON object a line.

The worker is a process of its own, so that llama.cpp, if it crashes, ends no more than the request it computes. The
first line it reads is a `Load`, and it may ask for room while it loads; then commands come, and reports go back. Runs
bear numbers that the server gives them, since there may be several at a time: each has its `Done` in the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from glimp_local.events import AnyEvent
from glimp_local.load import LoadRequest
from glimp_local.messages import Constraint, Message, Tool, ToolStyle
from glimp_local.routing import Model
from glimp_local.settings import RunSettings


class Load(msgspec.Struct, frozen=True):
    """Load a pair: the first line that a worker reads."""

    request: LoadRequest
    mapped_bytes: int = 0
    """Pages of the files of other pairs that are loaded: free to the system, and needed."""


class Room(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Short`."""

    was_made: bool
    mapped_bytes: int = 0


class Ask(msgspec.Struct, frozen=True):
    """Answer a question, or what a tool has returned: the last of the messages."""

    messages: tuple[Message, ...]
    settings: RunSettings
    seed: int | None
    anyway: bool = False
    """Also if the pair is not for it?"""
    tools: tuple[Tool, ...] = ()
    """Those the model may call."""
    constraint: Constraint | None = None
    """What the answer has to look like."""
    opening: str = ""
    """What the answer begins with."""
    is_raw: bool = False
    """Is the last message put before the models as it is, without a chat template?"""


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Begin a run."""

    run: int
    """Its number: no other run has it."""
    ask: Ask


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Stop a run before its next token."""

    run: int


class AnswerNow(msgspec.Struct, frozen=True, tag=True):
    """End a run's thought before its next token and write the answer."""

    run: int


class Force(msgspec.Struct, frozen=True, tag=True):
    """Let a model write a run's next step, whatever the policy says."""

    run: int
    model: Model


class Tokenize(msgspec.Struct, frozen=True, tag=True):
    """Split a text into the tokens of one model."""

    number: int
    """Comes back with the answer."""
    text: str
    model: Model | None


Command = Room | Begin | Cancel | AnswerNow | Force | Tokenize


class ServedModel(msgspec.Struct, frozen=True):
    """One model of a pair that was loaded."""

    name: str
    where: str
    identity: str
    context: int
    trained_context: int
    size_bytes: int | None
    """Of its file; None if it has none on this machine."""
    tool_style: ToolStyle | None
    """How it calls tools; None if it does not."""
    is_remote: bool = False
    """Is it on a server?"""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The pair is loaded."""

    pair: str
    models: dict[Model, ServedModel]
    settings: RunSettings
    """What a request changes."""
    thinks: bool
    system: str
    """The system message for conversations that come without one."""
    example: str
    """A question it can answer."""
    notices: tuple[str, ...]
    mapped_bytes: int = 0
    """Pages of its files that it needs."""
    parallel: int = 1
    """Runs it can have at the same time."""

    @property
    def computes_here(self) -> bool:
        """Is one of its models on this machine?"""
        return not all(model.is_remote for model in self.models.values())


class Short(msgspec.Struct, frozen=True, tag=True):
    """There is too little memory to load the pair as it should be: can others make room?"""


class Happened(msgspec.Struct, frozen=True, tag=True):
    """An event of a run."""

    run: int
    event: AnyEvent


class Failed(msgspec.Struct, frozen=True, tag=True):
    """An error: as a report, that the pair could not be loaded."""

    kind: str
    """Name of the error's class."""
    message: str
    hint: str | None = None
    exit_code: int = 1


class Done(msgspec.Struct, frozen=True, tag=True):
    """A run is over: the worker can do another one."""

    run: int
    failed: Failed | None = None
    """Why it did not begin, or came to no end."""
    kept: int = 0
    """Conversations of either model that are kept in memory beside the last ones."""
    kept_bytes: int = 0
    is_outdated: bool = False
    """Has the pair to be loaded again, because a server has another model now?"""


class Tokenized(msgspec.Struct, frozen=True, tag=True):
    """The tokens of a text, or why there are none."""

    number: int
    ids: tuple[int, ...] = ()
    failed: Failed | None = None


Report = Short | Ready | Happened | Done | Failed | Tokenized


class _Numbered(msgspec.Struct):
    """What is read of a command that makes no sense."""

    run: int


_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_reports: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
_numbered: msgspec.json.Decoder[_Numbered] = msgspec.json.Decoder(_Numbered)
_encoder = msgspec.json.Encoder()


def encode(message: Command | Report) -> bytes:
    """Write a command or a report as one line."""
    return _encoder.encode(message) + b"\n"


def decode_command(line: bytes) -> Command:
    """Read a command; raises msgspec.DecodeError for anything else."""
    return _commands.decode(line)


def run_of(line: bytes) -> int:
    """Return the number of the run that a command is for which could not be read; raises msgspec.DecodeError."""
    return _numbered.decode(line).run


def decode_report(line: bytes) -> Report:
    """Read a report; raises msgspec.DecodeError for anything else."""
    return _reports.decode(line)


def encode_load(load: Load) -> bytes:
    """Write the first line that a worker reads."""
    return msgspec.json.encode(load, enc_hook=str) + b"\n"


def decode_load(line: bytes) -> Load:
    """Read the first line; raises msgspec.DecodeError if it is none."""
    return msgspec.json.decode(line, type=Load, dec_hook=_as_path)


def _as_path(wanted: type, value: Any) -> Any:
    return Path(value) if wanted is Path else value
