"""What a session costs on top of llama.cpp: tokens per second against a bare loop, and the time of a glimpse.

The bare loop is `llama_sampler_sample` and `llama_decode` on the same context, called with nothing around them. Both
write the same tokens (temperature 0), in turns, so that a drifting machine hurts both alike.

    python -m benchmarks.overhead MODEL.gguf
"""

from __future__ import annotations

import statistics
from pathlib import Path
from time import perf_counter

import click
import llama_cpp
import numpy as np

from glimp_local.config import SamplingSettings
from glimp_local.engine import Engine
from glimp_local.entropy import glimpse
from glimp_local.events import Text
from glimp_local.machine import describe_with_load
from glimp_local.pair import Pair, load_pair
from glimp_local.session import Session

QUESTION = "Tell the history of the bicycle in as much detail as you can, one short paragraph for each decade."


def session_loop(pair: Pair) -> tuple[list[int], float]:
    """Write with a session; give the tokens, and the seconds from the first to the last."""
    engine = pair.engines["small"]
    engine.rewind(0)
    first, last = 0.0, 0.0
    session = Session(pair, seed=1)
    for event in session.ask(QUESTION):
        if isinstance(event, Text):
            last = perf_counter()
            first = first or last
    return list(session._lanes["small"].ids), last - first  # noqa: SLF001 - the events tell text, not tokens


def bare_loop(engine: Engine, prompt: list[int], count: int) -> tuple[list[int], float]:
    """Write with llama.cpp alone; give the tokens, and the seconds from the first to the last."""
    engine.rewind(0)
    engine.feed(prompt)
    tokens: list[int] = []
    context = engine._context  # noqa: SLF001 - the very context the session uses
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_greedy())
    batch = llama_cpp.llama_batch_init(1, 0, 1)
    batch.n_tokens, batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, 1, 0, 1
    position = len(prompt)
    token = llama_cpp.llama_sampler_sample(chain, context, -1)
    tokens.append(token)
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


def glimpse_seconds(engine: Engine, rounds: int = 300) -> float:
    """Give the median time of one glimpse at the engine's logits, the view on them included."""
    times = []
    for _ in range(rounds):
        start = perf_counter()
        glimpse(engine.logits())
        times.append(perf_counter() - start)
    return statistics.median(times)


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=15, show_default=True)
@click.option("--tokens", default=160, show_default=True)
def main(model: Path, rounds: int, tokens: int) -> None:
    """Measure MODEL, a GGUF."""
    print(describe_with_load())
    greedy = SamplingSettings(temperature=0)
    with load_pair(small=model, policy="small", sampling=greedy, max_answer=tokens, max_thought=tokens) as pair:
        engine = pair.engines["small"]
        prompt = pair.prompts["small"].prompt([{"role": "user", "content": QUESTION}])
        ratios, ours, bare = [], [], []
        for number in range(rounds + 1):
            held, ours_seconds = session_loop(pair)
            written = held[len(prompt) :]
            tokens_bare, bare_seconds = bare_loop(engine, prompt, len(written))
            if tokens_bare != written:
                raise SystemExit("the two loops wrote different tokens: nothing to compare")
            if number == 0:
                continue  # warm-up
            ours.append((len(written) - 1) / ours_seconds)
            bare.append((len(written) - 1) / bare_seconds)
            ratios.append(ours[-1] / bare[-1])
        engine.feed(prompt)
        quarters = np.quantile(ratios, [0.25, 0.75])
        print(f"{engine.name}, {engine.device}: {len(written)} tokens, {rounds} rounds in turns, medians")
        print(f"  bare llama.cpp loop  {statistics.median(bare):8.1f} tokens/s")
        print(f"  session              {statistics.median(ours):8.1f} tokens/s")
        print(
            f"  ratio                {statistics.median(ratios):8.3f}   middle half {quarters[0]:.3f}-{quarters[1]:.3f}"
        )
        print(f"  glimpse              {glimpse_seconds(engine) * 1e6:8.0f} us at {engine.vocabulary.size:,} tokens")


if __name__ == "__main__":
    main()
