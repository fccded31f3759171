"""Asks with LangChain's ChatOpenAI: `python with_langchain.py BASE_URL MODEL`; prints what came as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from langchain_openai import ChatOpenAI


def main(base: str, model: str) -> None:
    chat = ChatOpenAI(base_url=base, api_key="any", model=model, temperature=0, max_tokens=60, stream_usage=True)
    messages = [("system", "Be brief."), ("human", "How many?"), ("ai", "Answer 3"), ("human", "Sure?")]
    whole = chat.invoke(messages)
    parts = list(chat.stream(messages))
    batch = chat.batch(["How many steps?", "How many more?", "And then?"])
    later = asyncio.run(chat.ainvoke("How many steps?"))
    chained = (chat | (lambda reply: reply.content.upper())).invoke("How many steps?")
    said = {
        "content": whole.content,
        "usage": whole.usage_metadata,
        "finish": whole.response_metadata["finish_reason"],
        "streamed": "".join(part.content for part in parts),
        "streamed usage": [part.usage_metadata["output_tokens"] for part in parts if part.usage_metadata],
        "batch": [reply.content for reply in batch],
        "later": later.content,
        "chained": chained,
    }
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
