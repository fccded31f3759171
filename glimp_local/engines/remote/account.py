"""What a server did for one turn, and the time that took: its own seconds, and those of the network."""

from __future__ import annotations

from glimp_local.engines.protocol import Fed
from glimp_local.engines.remote.api import Timings
from glimp_local.runs import ModelStats


class Account:
    """The account of one turn.

    `prompt_tokens` is the length of its prompt; `round_trip_seconds` counts as the network's part of a request where a
    server keeps no account of its own.
    """

    def __init__(self, prompt_tokens: int, round_trip_seconds: float) -> None:
        self.tokens = 0
        self.glimpse_seconds = self.write_seconds = self.network_seconds = 0.0
        self.missed = Fed()
        """What it was fed that was neither the prompt nor its own."""
        self.along = Fed()
        """What it read while the other model wrote."""
        self._prompt = Fed()
        self._prompt_tokens = prompt_tokens
        self._round_trip_seconds = round_trip_seconds

    def first(self, sent: int, read: int, seconds: float, timings: Timings | None) -> float:
        """Count the wait for the first token of a request that sent this many tokens, of which `read` were new.

        The server's timings say better than we know how many were. Return its own seconds of that wait.
        """
        if timings is not None:
            read, own = timings.read, min(seconds, timings.read_seconds)
        else:
            own = max(0.0, seconds - self._round_trip_seconds)
        read = max(0, read - 1)  # the last token is computed again for each request
        if not read:
            self.write_seconds += own
            return own
        prompt = min(read, max(0, self._prompt_tokens - (sent - read)))
        self._prompt += Fed(prompt, own * prompt / read)
        self.missed += Fed(read - prompt, own * (read - prompt) / read)
        return own

    @property
    def read_tokens(self) -> int:
        """Tokens it was fed, the prompt's among them."""
        return self._prompt.tokens + self.missed.tokens

    def later(self, own: float, network: float) -> None:
        """Count the server's own seconds for writing, and the network's, beside those counted before."""
        self.write_seconds += own
        self.network_seconds += network

    def stats(self, name: str) -> ModelStats:
        """Return it as a record; the steps are the session's to count."""
        return ModelStats(
            name=name,
            steps=0,
            tokens=self.tokens,
            prefill_tokens=self._prompt.tokens,
            prefill_seconds=self._prompt.seconds,
            catch_up_tokens=self.missed.tokens,
            catch_up_seconds=self.missed.seconds,
            along_tokens=self.along.tokens,
            along_seconds=self.along.seconds,
            decode_seconds=self.write_seconds,
            sample_seconds=0.0,
            tokens_per_second=self.tokens / self.write_seconds if self.write_seconds else 0.0,
            network_seconds=self.network_seconds,
        )
