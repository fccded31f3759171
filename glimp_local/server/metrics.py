"""Counters of a server, in the text format that Prometheus reads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from glimp_local.runs import FinishReason, ModelStats, Stats


class Metrics:
    """What a server has done since it began."""

    def __init__(self) -> None:
        self.failed = 0
        """Requests that got an error."""
        self._requests: Counter[str] = Counter()
        self._tokens: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[tuple[str, str], float] = defaultdict(float)
        self._steps: Counter[str] = Counter()
        self._switches = 0
        self._waited_seconds = 0.0

    def waited(self, seconds: float) -> None:
        """Count the time a request waited for others."""
        self._waited_seconds += seconds

    def left(self) -> None:
        """Count a request whose client left before it was begun."""
        self._requests["left"] += 1

    def add(self, stats: Stats, reason: FinishReason) -> None:
        """Count a reply."""
        self._requests[reason] += 1
        self._steps["large"] += stats.steps_large
        self._steps["small"] += stats.steps - stats.steps_large
        self._switches += stats.switches
        for model, did in (("small", stats.small), ("large", stats.large)):
            if did is not None:
                self._add_model(model, did)

    def _add_model(self, model: str, did: ModelStats) -> None:
        for kind, tokens in (
            ("prompt", did.prefill_tokens),
            ("written", did.tokens),
            ("catch_up", did.catch_up_tokens),
        ):
            self._tokens[model, kind] += tokens
        for phase, seconds in (
            ("prefill", did.prefill_seconds),
            ("catch_up", did.catch_up_seconds),
            ("decode", did.decode_seconds),
            ("sample", did.sample_seconds),
            ("draft", did.draft_seconds),
            ("network", did.network_seconds),
        ):
            self._seconds[model, phase] += seconds

    def text(self, *, waiting: int, running: int, loaded: int, crashes: int, kept: tuple[int, int]) -> str:
        """Write all of it."""
        lines: list[str] = []

        def write(name: str, kind: str, about: str, values: dict[str, float]) -> None:
            lines.extend((f"# HELP glimp_{name} {about}", f"# TYPE glimp_{name} {kind}"))
            lines.extend(f"glimp_{name}{labels} {value:g}" for labels, value in values.items())

        def by(labels: tuple[str, ...], counter: Mapping[tuple[str, str], float]) -> dict[str, float]:
            return {
                "{" + ",".join(f'{label}="{value}"' for label, value in zip(labels, key, strict=True)) + "}": count
                for key, count in sorted(counter.items())
            }

        write("requests_waiting", "gauge", "Requests that wait for others.", {"": waiting})
        write("requests_running", "gauge", "Requests being answered.", {"": running})
        write("pairs_loaded", "gauge", "Pairs in memory.", {"": loaded})
        write("waiting_seconds_total", "counter", "Time requests waited.", {"": self._waited_seconds})
        finished = {f'{{finish_reason="{reason}"}}': float(count) for reason, count in sorted(self._requests.items())}
        write("requests_total", "counter", "Replies, by how they ended.", finished)
        write("request_errors_total", "counter", "Requests that got an error.", {"": self.failed})
        write("worker_crashes_total", "counter", "Workers that ended by themselves.", {"": crashes})
        write("cache_entries", "gauge", "Conversations kept in memory, of each model.", {"": kept[0]})
        write("cache_bytes", "gauge", "Memory that these take.", {"": kept[1]})
        write("tokens_total", "counter", "Tokens by model and kind.", by(("model", "kind"), self._tokens))
        write("seconds_total", "counter", "Seconds by model and phase.", by(("model", "phase"), self._seconds))
        steps = {f'{{model="{model}"}}': float(count) for model, count in sorted(self._steps.items())}
        write("steps_total", "counter", "Steps by the model that wrote them.", steps)
        write("switches_total", "counter", "Changes of the writer.", {"": self._switches})
        return "\n".join(lines) + "\n"
