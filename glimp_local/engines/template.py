"""A model's chat template: messages in, prompt text out."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from glimp_local.engines.renderer import Renderer
from glimp_local.messages import Message


class ChatTemplate:
    """A Jinja chat template, rendered the way the binding (and Transformers) does, in the renderer's process."""

    def __init__(self, source: str, *, bos: str, eos: str, renderer: Renderer) -> None:
        self.source = source
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self._renderer = renderer

    def render(
        self, messages: Sequence[Message], *, generate: bool = True, cancel: threading.Event | None = None
    ) -> str:
        """Render messages, thinking enabled; `generate` opens the assistant's turn at the end.

        Raises ModelUnreadableError if the template is no valid Jinja, fails or goes beyond a limit, and CancelledError
        if `cancel` is set meanwhile.
        """
        plain = [{"role": message.role, "content": message.content} for message in messages]
        context = {**self._tokens, "messages": plain, "add_generation_prompt": generate}
        return self._renderer.render(self.source, cancel=cancel, **context)
