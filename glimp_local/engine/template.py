"""A model's chat template: messages in, prompt text out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jinja2
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from glimp_local.errors import ModelUnreadableError

Message = dict[str, str]
"""A chat message: `role` (system, user, assistant) and `content`."""


class ChatTemplate:
    """A Jinja chat template, rendered the way the binding (and Transformers) does.

    Raises ModelUnreadableError where the template is no valid Jinja.
    """

    def __init__(self, source: str, *, bos: str, eos: str) -> None:
        self.source = source
        try:
            self._formatters = {
                generate: Jinja2ChatFormatter(source, eos, bos, add_generation_prompt=generate)
                for generate in (True, False)
            }
        except jinja2.TemplateError as error:
            raise _unusable(error) from error

    def render(self, messages: Sequence[Message], *, generate: bool = True) -> str:
        """Render messages, thinking enabled; `generate` opens the assistant's turn at the end."""
        # The formatter wants the binding's own typed dictionaries; these are they.
        typed: Any = list(messages)
        try:
            return str(self._formatters[generate](messages=typed, enable_thinking=True).prompt)
        except (jinja2.TemplateError, ValueError, TypeError) as error:
            raise _unusable(error) from error


def _unusable(error: Exception) -> ModelUnreadableError:
    return ModelUnreadableError(
        f"the model's chat template cannot be rendered: {error}",
        hint="give another template with --chat-template FILE",
    )
