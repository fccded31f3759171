"""Every error the tool reports, as one tree.

GlimpError                     1
├── UsageError                 2   a flag, a setting or an input that cannot be used
│   ├── ConfigError            2   models.toml: names the file, the key and what was expected
│   └── PromptTooLongError     2   the conversation alone leaves no room for an answer
├── ModelError                 3   a model that cannot be used
│   ├── ModelMissingError      3   its file is not on this machine
│   ├── ModelUnreadableError   3   its file is no GGUF or cut short, or its chat template is missing or fails
│   └── DeviceError            3   a device on another machine that its layers were to go to cannot be used
├── MemoryShortError           1   no memory for a model's weights, or for its context
├── DownloadError              5   the hub cannot be reached, or does not give the file; what came is kept
├── CrashError                 6   llama.cpp, or the system, ended the process that computes; what was written is kept
├── DeclinedError              7   a question that a narrow pair is not for; nothing was generated
├── BindingError               1   the installed llama-cpp-python is not the one this package is written for
├── ContextFullError           1   the next token has no room; nothing written is lost
├── DecodeError                1   llama.cpp could not compute; the engine stands where it stood
├── CacheError                 1   a cache on the disk that cannot be written or taken up; it is computed again
└── CancelledError           130   somebody asked to stop

The number is the exit code of the command. `hint` names the next thing to do.
"""

from typing import Literal

ServerTrouble = Literal[
    "unreachable",  # no connection
    "lost",  # the connection ended before the reply did
    "silent",  # no sign of life for too long
    "loading",  # the server is still loading its model
    "full",  # the prompt has no room in the context
    "key",  # no key, or a wrong one
    "changed",  # another model is served now
    "unknown",  # it does not know what it was asked for
    "refused",  # anything else
]
"""What keeps a server's model from being used."""


class GlimpError(Exception):
    """Any error with a message for the user, an exit code and a hint."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # a traceback shows it, too


class UsageError(GlimpError):
    """A flag, a setting or an input that cannot be used."""

    exit_code = 2


class ConfigError(UsageError):
    """A models.toml that cannot be used."""


class ModelError(GlimpError):
    """A model that cannot be used."""

    exit_code = 3


class ModelMissingError(ModelError):
    """A model whose file is not on this machine."""


class ModelUnreadableError(ModelError):
    """A file that is not a usable GGUF."""


class ServerError(ModelError):
    """A model on a server that cannot be used, or not now."""

    def __init__(self, message: str, *, hint: str | None = None, why: ServerTrouble = "refused") -> None:
        super().__init__(message, hint=hint)
        self.why = why
        """What the server did."""

    @property
    def may_pass(self) -> bool:
        """Can the same request succeed a moment later?"""
        return self.why in {"unreachable", "lost", "loading"}


class DeviceError(ModelError):
    """A device on another machine that a model's layers were to go to, and that cannot be used."""


class MemoryShortError(GlimpError):
    """A model that is right, and for which there is no memory."""

    def __init__(self, message: str, *, hint: str, of: Literal["weights", "context"]) -> None:
        super().__init__(message, hint=hint)
        self.of = of
        """What there was no memory for."""


class DownloadError(GlimpError):
    """A download that did not come to its end; the next try continues from there."""

    exit_code = 5


class CrashError(GlimpError):
    """A process that was ended while it computed."""

    exit_code = 6


class DeclinedError(GlimpError):
    """A question clearly outside of what a narrow pair can do, declined before anything was generated."""

    exit_code = 7


class BindingError(GlimpError):
    """A llama-cpp-python that does not fit this package."""


class ContextFullError(GlimpError):
    """No room for the next token in a model's context."""


class PromptTooLongError(UsageError):
    """A prompt that leaves no room for an answer."""


class DecodeError(GlimpError):
    """llama.cpp failed to compute a batch."""


class CacheError(GlimpError):
    """A cache that cannot be kept on the disk, or taken up from there."""


class CancelledError(GlimpError):
    """The work was cancelled; what was computed so far is kept."""

    exit_code = 130
