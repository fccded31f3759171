"""A conversation as the token ids a model reads: chat template, thought opened.

What a user typed is tokenised with control tokens off, wherever the template puts it: the template is rendered with a
placeholder for each message, and the messages are put in as tokens. Tools and calls of them, which templates write in
ways of their own, are marked where they spell a special token, and cut there. Knows nothing of contexts.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from glimp_local.errors import ModelUnreadableError
from glimp_local.messages import Message, Tool, ToolCall
from glimp_local.settings import ThinkingMarkers

_PLACEHOLDER = "\u2060glimp{}\u2060"  # word joiners: no template trims them, no text has them around this word
_JOINER = "\u2060"
_CUT = f"{_JOINER}glimp cut{_JOINER}"

_OTHER_TEMPLATE = "give another template with --chat-template FILE"


class Vocabulary(Protocol):
    """Tokens of the model whose prompts are built."""

    @property
    def bos(self) -> int:
        """Token that begins a text; -1 if there is none."""
        ...

    @property
    def adds_bos(self) -> bool:
        """Does every text begin with it?"""
        ...

    def tokenize(self, text: str | bytes, *, control: bool = False, continues: bool = False) -> list[int]:
        """Turn text into token ids; control tokens are made of their spellings only if `control`."""
        ...

    def parts(self, text: bytes) -> list[bytes]:
        """Cut text where it spells special tokens, so that each part is tokenised as letters."""
        ...

    def is_control(self, token: int) -> bool:
        """Is this a control token?"""
        ...

    def reveal(self, marker: str) -> None:
        """Show the control tokens that spell a marker, so that it can be found in the text."""
        ...


class Template(Protocol):
    """A chat template, wherever it is rendered."""

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        generate: bool = True,
        cancel: threading.Event | None = None,
    ) -> str:
        """Render messages and tools; `generate` opens the assistant's turn at the end."""
        ...


def opened(text: str, markers: ThinkingMarkers | None) -> str:
    """Return a prompt with its thought opened, if there are markers.

    Many templates open it themselves; a second opening would put the first glimpse on the marker.
    """
    if markers is None or text.rstrip().endswith(markers.open.rstrip()):
        return text
    return text + markers.open


class PromptBuilder:
    """Builds one model's prompts.

    `markers` are those of the pair; None for a pair that does not think.
    """

    def __init__(self, template: Template, vocabulary: Vocabulary, markers: ThinkingMarkers | None) -> None:
        self._template = template
        self._vocabulary = vocabulary
        self._markers = markers
        if markers is not None:
            for marker in (markers.open, markers.close):
                vocabulary.reveal(marker)

    def prompt(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), cancel: threading.Event | None = None
    ) -> list[int]:
        """Return the prompt up to the first token of the thought (or of the reply).

        Raises ModelUnreadableError where the template leaves a message out or cannot be rendered.
        """
        text = self._render(messages, tools, generate=True, cancel=cancel)
        return self._tokenize(opened(text, self._markers), messages)

    def stable_length(
        self,
        messages: Sequence[Message],
        prompt: Sequence[int],
        *,
        tools: Sequence[Tool] = (),
        cancel: threading.Event | None = None,
    ) -> int:
        """Return the length of the prompt's beginning that the next turn's prompt will share.

        The rest (the opened turn and thought) is written otherwise once the answer is there.
        """
        history = self._tokenize(self._render(messages, tools, generate=False, cancel=cancel), messages)
        return next((i for i, (a, b) in enumerate(zip(history, prompt, strict=False)) if a != b), len(history))

    def _render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        *,
        generate: bool,
        cancel: threading.Event | None,
    ) -> str:
        stand_ins = [self._stand_in(i, message) for i, message in enumerate(messages)]
        try:
            return self._template.render(stand_ins, tools=self._cut(list(tools)), generate=generate, cancel=cancel)
        except ModelUnreadableError as error:
            if messages[0].role != "system":
                raise
            raise ModelUnreadableError(
                str(error), hint=f"leave the system message out: it may not take one; or {_OTHER_TEMPLATE}"
            ) from error

    def _stand_in(self, i: int, message: Message) -> Message:
        # A template may write a message that only calls tools in another way if it is empty.
        content = _PLACEHOLDER.format(i) if message.content or not message.tool_calls else ""
        calls = tuple(
            ToolCall(self._cut(call.id), self._cut(call.name), self._cut(call.arguments)) for call in message.tool_calls
        )
        return msgspec.structs.replace(message, content=content, tool_calls=calls)

    def _cut(self, value: Any) -> Any:
        """Mark all texts in a value where the spelling of a special token has to be cut."""
        match value:
            case str():
                value = value.replace(_JOINER, "")  # nobody sees it, and it would look like a mark of ours
                parts = self._vocabulary.parts(value.encode("utf-8", "surrogateescape"))
                return _CUT.join(part.decode("utf-8", "surrogateescape") for part in parts)
            case list():
                return [self._cut(item) for item in value]
            case dict():
                return {self._cut(key): self._cut(item) for key, item in value.items()}
        return value

    def _tokenize(self, text: str, messages: Sequence[Message]) -> list[int]:
        ids: list[int] = []
        # Splitting at a group gives the template's own text and the messages' numbers in turn.
        parts = re.split(_PLACEHOLDER.format(r"(\d+)"), text)
        shown = parts[1::2]
        wanted = [str(i) for i, message in enumerate(messages) if message.content or not message.tool_calls]
        if messages[0].role == "system" and shown == wanted[1:]:
            raise ModelUnreadableError(
                "the model's chat template takes no system message",
                hint=f"leave the system message out, or {_OTHER_TEMPLATE}",
            )
        if shown != wanted:
            raise ModelUnreadableError(
                "the model's chat template does not show every message once and in order",
                hint=_OTHER_TEMPLATE,
            )
        blanks = ""
        for position, part in enumerate(parts):
            own = position % 2 == 0
            continues = bool(ids) and not self._vocabulary.is_control(ids[-1])
            content = blanks + (part if own else messages[int(part)].content)
            # A blank belongs to the word behind it ("[INST] Hello"): most vocabularies have tokens that hold both.
            blanks = content[len(content.rstrip(" ")) :] if own and position + 1 < len(parts) else ""
            content = content.removesuffix(blanks)
            for piece in content.split(_CUT) if own else (content,):
                ids += self._vocabulary.tokenize(piece, control=own, continues=continues)
                continues = continues or bool(piece)
        if self._vocabulary.adds_bos and ids[:1] != [self._vocabulary.bos]:
            ids.insert(0, self._vocabulary.bos)
        return ids
