"""A conversation as the token ids a model reads: chat template, thought opened.

What a user typed is tokenised with control tokens off, wherever the template puts it: the template is rendered with a
placeholder for each message, and the messages are put in as tokens. Knows nothing of contexts.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

from glimp_local.engines.llama.vocabulary import Vocabulary
from glimp_local.engines.template import ChatTemplate
from glimp_local.errors import ModelUnreadableError
from glimp_local.messages import Message
from glimp_local.settings import ThinkingMarkers

_PLACEHOLDER = "\u2060glimp{}\u2060"  # word joiners: no template trims them, no text has them around this word

_OTHER_TEMPLATE = "give another template with --chat-template FILE"


class PromptBuilder:
    """Builds one model's prompts.

    `markers` are those of the pair; None for a pair that does not think.
    """

    def __init__(self, template: ChatTemplate, vocabulary: Vocabulary, markers: ThinkingMarkers | None) -> None:
        self._template = template
        self._vocabulary = vocabulary
        self._markers = markers
        if markers is not None:
            for marker in (markers.open, markers.close):
                vocabulary.reveal(marker)

    def prompt(self, messages: Sequence[Message], *, cancel: threading.Event | None = None) -> list[int]:
        """Give the prompt up to the first token of the thought (or of the reply).

        Raises ModelUnreadableError where the template leaves a message out or cannot be rendered.
        """
        text = self._render(messages, generate=True, cancel=cancel)
        if self._markers is not None:
            # Many templates open the thought themselves; a second opening would put the first glimpse on the marker.
            opened = text.rstrip().endswith(self._markers.open.rstrip())
            text = text if opened else text + self._markers.open
        return self._tokenize(text, messages)

    def stable_length(
        self, messages: Sequence[Message], prompt: Sequence[int], *, cancel: threading.Event | None = None
    ) -> int:
        """Give the length of the prompt's beginning that the next turn's prompt will share.

        The rest (the opened turn and thought) is written otherwise once the answer is there.
        """
        history = self._tokenize(self._render(messages, generate=False, cancel=cancel), messages)
        return next((i for i, (a, b) in enumerate(zip(history, prompt, strict=False)) if a != b), len(history))

    def _render(self, messages: Sequence[Message], *, generate: bool, cancel: threading.Event | None) -> str:
        stand_ins = [Message(message.role, _PLACEHOLDER.format(i)) for i, message in enumerate(messages)]
        try:
            return self._template.render(stand_ins, generate=generate, cancel=cancel)
        except ModelUnreadableError as error:
            if messages[0].role != "system":
                raise
            raise ModelUnreadableError(
                str(error), hint=f"leave the system message out: it may not take one; or {_OTHER_TEMPLATE}"
            ) from error

    def _tokenize(self, text: str, messages: Sequence[Message]) -> list[int]:
        ids: list[int] = []
        # Splitting at a group gives the template's own text and the messages' numbers in turn.
        parts = re.split(_PLACEHOLDER.format(r"(\d+)"), text)
        shown, wanted = parts[1::2], [str(number) for number in range(len(messages))]
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
            ids += self._vocabulary.tokenize(content, control=own, continues=continues)
        if self._vocabulary.adds_bos and ids[:1] != [self._vocabulary.bos]:
            ids.insert(0, self._vocabulary.bos)
        return ids
