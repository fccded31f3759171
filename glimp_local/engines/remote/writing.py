"""One request for text, as it arrives: whole pieces, why it ends, and how long each was waited for."""

from __future__ import annotations

from collections import deque
from time import perf_counter

from glimp_local.engines.protocol import Piece
from glimp_local.engines.remote.account import Account
from glimp_local.engines.remote.api import Api, Chunk, Stop, Top
from glimp_local.engines.remote.client import Stream
from glimp_local.engines.remote.pieces import KnownTokens, PieceByPiece, Pieces
from glimp_local.errors import ServerError


class Writing:
    """A streamed completion behind `sent` tokens, `read` of them new to the server. Whoever reads it closes it."""

    def __init__(
        self,
        api: Api,
        stream: Stream,
        account: Account,
        tokens: KnownTokens | PieceByPiece | None,
        *,
        sent: int,
        read: int,
    ) -> None:
        self.written = 0
        """Tokens that have arrived."""
        self.top: Top | None = None
        self.stop: Stop | None = None
        """Why it is over; None while it is not."""
        self._api = api
        self._stream = stream
        self.account = account
        """What it costs is counted there."""
        self._pieces = Pieces(tokens)
        self._ready: deque[Piece] = deque()
        self._sent, self._read = sent, read
        self._is_begun = False
        self._first = self._reading = self._waited = self._own = self._network = 0.0

    @property
    def token_seconds(self) -> float:
        """What the server takes for a token, on average."""
        return self._own / max(1, self.written - 1)

    def look(self) -> Top:
        """Return the likeliest tokens at its beginning; () if they are not shown.

        Raises ServerError, CancelledError.
        """
        if self.top is None:
            self.top = self._take().top
        return self.top

    @property
    def is_begun(self) -> bool:
        """Was a piece taken from it?"""
        return self._is_begun

    def next(self) -> Piece | None:
        """Return the next piece; None at its end. Raises ServerError, CancelledError."""
        while not self._ready and self.stop is None:
            self._take()
        self._is_begun = self._is_begun or bool(self._ready)
        return self._ready.popleft() if self._ready else None

    def _take(self) -> Chunk:
        """Wait for the next chunk that says something."""
        start = perf_counter()
        for found in self._stream:
            chunk = self._api.chunk(found, self.written)
            if chunk is None or not (chunk.tokens or chunk.text or chunk.stop):
                continue
            self._count(chunk, perf_counter() - start)
            self._ready.extend(self._pieces.take(chunk))
            self.stop = "end" if self._pieces.is_over else chunk.stop
            return chunk
        raise ServerError(f"{self._api.client.address.place}: the reply ended before its end", why="lost")

    def _count(self, chunk: Chunk, seconds: float) -> None:
        timings = chunk.timings
        self._waited += seconds
        if not self.written:
            self._first = seconds
            self._reading = self.account.first(self._sent, self._read, seconds, timings)
        # The server writes on while a chunk is under way: only the sums say what the network took.
        own = self._waited - self._first if timings is None else timings.write_seconds
        network = max(0.0, self._waited - self._reading - own)
        self.account.later(own - self._own, network - self._network)
        self._own, self._network = own, network
        self.written += chunk.tokens

    def close(self) -> None:
        """End the connection: the server stops writing."""
        self._stream.close()
