"""llama.cpp's own HTTP server, out of the `xllamacpp` wheel: `python -m benchmarks.llama_server MODEL.gguf`.

Prints `ready URL` once the model is loaded and the port answers; llama.cpp's log goes to standard error. It stops with
status 0 at SIGTERM, SIGINT and the end of its standard input, so that it never outlives whoever started it with a pipe
there; by SIGALRM if a client holds it up for a second. A model that cannot be loaded, or a port that is taken, ends it
with status 1 and llama.cpp's reasons. It needs only the standard library and `xllamacpp`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

_SIGNALS_SECONDS = 0.1
"""How often a signal is looked for: one of llama.cpp's threads may receive it, which wakes nobody here."""
_CLOSING_SECONDS = 1.0
"""A client that holds its stream open has this long."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.llama_server", description=__doc__)
    parser.add_argument("model", type=Path, help="a GGUF file")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 is a free one")
    parser.add_argument("--context", type=int, default=2048, help="tokens of each slot")
    parser.add_argument("--parallel", type=int, default=1, help="slots: requests that are served at once")
    parser.add_argument("--threads", type=int, default=1, help="threads that compute")
    parser.add_argument("--batch", type=int, default=512, help="tokens of a prompt between two looks at its client")
    parser.add_argument("--api-key", default="", help="asked of every client")
    parser.add_argument("--alias", default="", help="the model's name; without it the file's")
    return parser.parse_args()


def main() -> int:
    """Serve until told to stop; return the exit status."""
    import xllamacpp  # noqa: PLC0415 - so that --help needs only the standard library

    given = _arguments()
    if not given.model.is_file():
        return _failed(f"there is no model {given.model}")
    params = xllamacpp.CommonParams()
    params.model.path = str(given.model.resolve())
    params.model_alias = {given.alias or given.model.name}
    params.hostnames = [given.host]
    params.port = given.port
    params.n_parallel = given.parallel
    params.n_ctx = given.context * given.parallel  # llama.cpp divides it among the slots
    params.n_batch = params.n_ubatch = given.batch
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
    params.cache_ram_mib = 0  # what a slot loses is read again: prompts kept elsewhere would hide that
    params.fit_params = params.warmup = params.ui = False
    params.endpoint_metrics = True
    params.verbosity = 3  # with what is done in each slot, without each token
    if given.api_key:
        params.api_keys = [given.api_key]
    try:
        server = xllamacpp.Server(params)  # until the model is loaded
    except Exception as error:  # noqa: BLE001 - the binding raises kinds of its own
        return _failed(str(error))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_wait_for_the_end, args=(stop,), daemon=True).start()
    print(f"ready {server.listening_address}", flush=True)
    while not stop.wait(_SIGNALS_SECONDS):
        pass
    # Closing joins llama.cpp's threads and holds the interpreter's lock; one whose client neither reads nor leaves
    # never ends, and only a signal without a handler of ours ends that.
    signal.setitimer(signal.ITIMER_REAL, _CLOSING_SECONDS)
    del server
    return 0


def _wait_for_the_end(stop: threading.Event) -> None:
    while os.read(0, 1):  # not by sys.stdin, whose lock would hold up the interpreter's end
        pass
    stop.set()


def _failed(reason: str) -> int:
    print(f"llama-server did not start: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
