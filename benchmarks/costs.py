"""What a batch costs by its number of tokens, for each model at hand."""

from __future__ import annotations

from pathlib import Path

from benchmarks.document import table
from benchmarks.setup import Setup
from benchmarks.taken import BUILTIN
from glimp_local.engines.llama.backend import LlamaBackend
from glimp_local.machine.tuning import measure_costs

HEADING = "What a batch costs"

_SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 32)
_TEMPLATE = Path(__file__).with_name("plain.jinja")


def measure(setup: Setup) -> list[str]:
    """Measure each model alone, as `glimp doctor --tune` does."""
    builtin = [BUILTIN / "small.gguf", BUILTIN / "large.gguf"]
    files = [path for path in (*builtin, setup.small, setup.large, setup.shared_small, setup.shared_large) if path]
    rows = []
    for path in (path for path in files if path.exists()):
        with setup.open_alone(path, chat_template=str(_TEMPLATE)) as pair:
            backend = pair.backends["small"]
            assert isinstance(backend, LlamaBackend)
            engine = backend.engine
            ids = [200 + i * 7919 % (engine.vocabulary.size - 200) for i in range(engine.context)]
            seconds = measure_costs(engine, ids)
            cells = [f"{1e3 * seconds[size]:,.3g}" if size in seconds else "-" for size in _SIZES]
            rows.append([path.stem, engine.placement.where, *cells])
    about = "Milliseconds of one batch behind 64 tokens, by its number of tokens: about the least of several rounds."
    return [table(("model", "on", *map(str, _SIZES)), rows), about]
