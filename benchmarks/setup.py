"""What a benchmark is given: the pairs, and how much is to be measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from glimp_local.engines.llama.backend import LlamaBackend
from glimp_local.engines.prompt import PromptBuilder
from glimp_local.errors import GlimpError
from glimp_local.load import load_pair
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.routing import Model
from glimp_local.session.session import Session

QUESTION = "Tell the history of the bicycle in as much detail as you can, one short paragraph for each decade."
"""What a pair that comes without an example is asked."""

BEGINNING = "Once upon a time, in a small village near the sea, there lived a boy named"
"""What a pair without chat templates goes on with."""

PLAIN = Path(__file__).with_name("plain.jinja")
"""A template that adds nothing: the models go on with the question's text."""


class MissingError(GlimpError):
    """Something a section needs is not on this machine."""


class Files(msgspec.Struct, frozen=True):
    """A pair to be measured."""

    name: str
    """What the documents call it."""
    small: Path | None = None
    """None is the built-in pair's."""
    large: Path | None = None
    settings: dict[str, Any] = {}
    """Settings of the pair (`PairConfig`) without which it cannot be used."""
    question: str = QUESTION

    def asked(self, pair: Pair) -> str:
        """Give what the pair, loaded, is asked: its own example, where it has one."""
        return pair.config.example.strip() or self.question


BUILTIN = Files("built-in pair")


class Setup(msgspec.Struct, frozen=True):
    """The models of this machine, and the size of the measurements."""

    small: Path | None = None
    """Small model of a pair of two vocabularies."""
    large: Path | None = None
    shared_small: Path | None = None
    """Small model of a pair of one vocabulary, which need not have chat templates."""
    shared_large: Path | None = None
    problems: Path | None = None
    """Problems for the pair of two vocabularies, as JSON lines."""
    llama_bench: Path | None = None
    """A llama-bench that is built already; None builds one."""
    llama_server: Path | None = None
    """A llama-server to be measured beside ours."""
    gpu_layers: int = -1
    gpu_layers_small: int | None = None
    """Of the small model of a pair; None is `gpu_layers`."""
    gpu_layers_large: int | None = None
    rounds: int = 7
    """How often everything that is compared is measured, in turns."""
    tokens: int = 128
    """Tokens a run writes."""
    limit: int = 20
    """Problems of each pair."""
    solves: int = 300
    """Solves of the process that is watched for growth."""
    session_tokens: int = 16384
    """Length of the long session."""
    requests: int = 200
    """Of the clients that load a server."""
    bodies: int = 5000
    """Sent to a server by the fuzzer."""

    def two_vocabularies(self) -> Files:
        """Give the pair of two vocabularies; raises MissingError."""
        if not (self.small and self.small.exists() and self.large and self.large.exists()):
            raise MissingError(
                "Not measured on a pair of two vocabularies: its files are not there.", hint="give --small and --large"
            )
        return Files(_name(self.small, self.large), self.small, self.large)

    def one_vocabulary(self) -> Files:
        """Give the pair of one vocabulary; raises MissingError."""
        small, large = self.shared_small, self.shared_large
        if not (small and small.exists() and large and large.exists()):
            raise MissingError(
                "Not measured on a second pair of one vocabulary: its files are not there.",
                hint="give --shared-small and --shared-large",
            )
        plain = {"chat_template": str(PLAIN), "thinking": "none"}
        return Files(_name(small, large), small, large, plain, BEGINNING)

    def given_problems(self) -> Path:
        """Give the problems for the pair of two vocabularies; raises MissingError."""
        if self.problems is None:
            raise MissingError(
                "Not measured on a pair of two vocabularies: it has no problems.", hint="give --problems"
            )
        return self.problems

    def open(self, files: Files, **settings: Any) -> Pair:
        """Load a pair with the layers on the GPU that were asked for; raises what `load_pair` raises."""
        own: dict[Model, int | None] = {"small": self.gpu_layers_small, "large": self.gpu_layers_large}
        options: dict[Model, dict[str, Any]] = {
            model: {"gpu_layers": self.gpu_layers if n is None else n} for model, n in own.items()
        }
        both: dict[str, Any] = {**files.settings, **settings}
        return load_pair(small=files.small, large=files.large, engine_options=options, **both)

    def open_alone(self, model: Path, **settings: Any) -> Pair:
        """Load one model to write by itself, as the small one, without drafts; raises what `load_pair` raises."""
        return load_pair(
            small=model,
            policy="small",
            draft="off",
            thinking="none",
            max_answer=self.tokens,
            engine_options={"small": {"gpu_layers": self.gpu_layers}},
            **settings,
        )


def prompt_of(pair: Pair, question: str) -> list[int]:
    """Return the tokens of a question as the small model of a pair reads it."""
    backend = pair.backends["small"]
    assert isinstance(backend, LlamaBackend)
    builder = PromptBuilder(backend.template, backend.vocabulary, pair.markers)
    return builder.prompt([Message("user", question)])


def with_builtin(other: Callable[[], Files]) -> tuple[list[Files], list[str]]:
    """Give the built-in pair, and the other one where it is there; and, in words, what is not."""
    try:
        return [BUILTIN, other()], []
    except MissingError as error:
        return [BUILTIN], [str(error)]


def _name(small: Path, large: Path) -> str:
    return f"{small.stem} + {large.stem}"


def fresh_session(pair: Pair, **settings: Any) -> Session:
    """Begin a session with empty caches, seed 1."""
    pair.forget()
    return Session(pair, seed=1, **settings)
