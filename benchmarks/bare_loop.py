"""llama.cpp's functions called with nothing around them: what a session is measured against inside Python."""

from __future__ import annotations

from time import perf_counter

import llama_cpp

from glimp_local.engines.llama.engine import Engine


def bare_loop(engine: Engine, prompt: list[int], count: int) -> tuple[list[int], float]:
    """Write `count` tokens at temperature 0 with `llama_sampler_sample` and `llama_decode` on the engine's own context.

    Gives the tokens, and the seconds from the first to the last. The engine is empty afterwards.
    """
    engine.rewind(0)
    engine.feed(prompt)
    context = engine._context  # noqa: SLF001 - the very context the session uses
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_greedy())
    batch = llama_cpp.llama_batch_init(1, 0, 1)
    batch.n_tokens, batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, 1, 0, 1
    position = len(prompt)
    token = llama_cpp.llama_sampler_sample(chain, context, -1)
    tokens = [token]
    start = perf_counter()
    while len(tokens) < count:
        batch.token[0], batch.pos[0] = token, position
        llama_cpp.llama_decode(context, batch)
        token = llama_cpp.llama_sampler_sample(chain, context, -1)
        tokens.append(token)
        position += 1
    seconds = perf_counter() - start
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_sampler_free(chain)
    # The engine did not see these tokens: what it holds begins anew.
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    engine.ids.clear()
    return tokens, seconds
