"""Asks with LiteLLM: `python with_litellm.py BASE_URL MODEL`; prints what came as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import litellm

litellm.telemetry = False
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How many steps are there?"}]


def main(base: str, model: str) -> None:
    asked: dict[str, Any] = {"model": f"openai/{model}", "messages": ASKED, "api_base": base, "api_key": "any"}
    whole = litellm.completion(**asked, temperature=0, max_tokens=60)
    parts = list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}))
    later = asyncio.run(ask_later(asked))
    deltas = [part.choices[0].delta for part in parts if part.choices]
    try:
        litellm.completion(**{**asked, "model": "openai/gpt-5"})
    except litellm.NotFoundError as error:
        refused = str(error)
    said = {
        "content": whole.choices[0].message.content,
        "thought": whole.choices[0].message.reasoning_content,
        "finish": whole.choices[0].finish_reason,
        "usage": whole.usage.total_tokens,
        "streamed": "".join(delta.content or "" for delta in deltas),
        "streamed thought": "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas),
        "streamed usage": [part.usage.completion_tokens for part in parts if getattr(part, "usage", None)],
        "later": later,
        "refused": refused,
    }
    sys.stdout.write(json.dumps(said))


async def ask_later(asked: dict[str, Any]) -> str:
    reply, stream = await asyncio.gather(litellm.acompletion(**asked), litellm.acompletion(**asked, stream=True))
    said = [part.choices[0].delta.content or "" async for part in stream]
    return f"{reply.choices[0].message.content} {''.join(said)}"


if __name__ == "__main__":
    main(*sys.argv[1:])
