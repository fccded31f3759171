"""A model's chat template: messages in, prompt text out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glimp_local.engines.renderer import Renderer
from glimp_local.errors import ConfigError
from glimp_local.inputs import read_limited
from glimp_local.messages import Message, Tool
from glimp_local.settings import PairConfig

_MOST_BYTES = 1_000_000
"""Of a template: the longest ones known take 30 kB."""


class ChatTemplate:
    """A Jinja chat template, rendered the way the binding (and Transformers) does, in the renderer's process."""

    def __init__(self, source: str, *, bos: str, eos: str, renderer: Renderer) -> None:
        self.source = source
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self._renderer = renderer

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        generate: bool = True,
        cancel: threading.Event | None = None,
    ) -> str:
        """Render messages and tools, thinking enabled; `generate` opens the assistant's turn at the end.

        Raises ModelUnreadableError if the template is no valid Jinja, fails or goes beyond a limit, and CancelledError
        if `cancel` is set meanwhile.
        """
        plain = [_plain(message) for message in messages]
        context = {**self._tokens, "messages": plain, "tools": list(tools) or None, "add_generation_prompt": generate}
        return self._renderer.render(self.source, cancel=cancel, **context)


def _plain(message: Message) -> dict[str, Any]:
    """Return a message as Transformers hands it to a template."""
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        plain["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        plain["tool_call_id"] = message.tool_call_id
    return plain


def read_template(config: PairConfig) -> str | None:
    """Read the chat template that a pair has in place of its models' own; None if it has none.

    Raises ConfigError if the file cannot be read.
    """
    if config.chat_template is None:
        return None
    path = Path(config.chat_template)
    try:
        return read_limited(path, _MOST_BYTES, str(path), hint="name a Jinja file").decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error
