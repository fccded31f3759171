"""How a server's model has its prompts written: by a template that the server tells, or by the server."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from glimp_local.engines.remote.api import Api
from glimp_local.errors import ModelUnreadableError, ServerError
from glimp_local.messages import Message, Tool

_NEVER = threading.Event()


class ServerTemplate:
    """A chat template that only the server knows, which renders it."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        generate: bool = True,
        cancel: threading.Event | None = None,
    ) -> str:
        """Have messages and tools rendered, up to where the assistant begins.

        Raises ModelUnreadableError if the server cannot, CancelledError.
        """
        assert generate
        try:
            return self._api.render(messages, tools, cancel or _NEVER)
        except ServerError as error:
            raise ModelUnreadableError(f"its chat template failed: {error}", hint=error.hint) from error
