"""Ollama's own interface, by a server that answers in its shapes: none of the package registries has the real one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from glimp_local import Session
from glimp_local.events import fold
from tests.engines.remote.conftest import OpenRemote
from tests.support.tiny_models import THINKING


class Handler(BaseHTTPRequestHandler):
    """Answers as Ollama does; what was asked is kept."""

    asked: list[dict[str, Any]]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass

    def do_GET(self) -> None:
        replies = {"/api/version": {"version": "0.34.1"}, "/v1/models": {"data": [{"id": "qwen3:32b"}]}}
        reply = replies.get(self.path)
        self.send_response(404 if reply is None else 200)
        body = json.dumps(reply or {"error": "not found"}).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append({"path": self.path, **body})
        lines: list[dict[str, Any]] = [
            {"response": text, "done": False} for text in ("One", " step.", "</think>", "\n\n", "\\boxed{1}")
        ]
        account = {"prompt_eval_count": 9, "prompt_eval_duration": 20_000_000, "eval_duration": 50_000_000}
        lines.append({"response": "", "done": True, "done_reason": "stop", **account})
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        for line in lines:
            self.wfile.write(json.dumps(line).encode() + b"\n")


@pytest.fixture
def ollama() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    asked: list[dict[str, Any]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("_Handler", (Handler,), {"asked": asked})) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_the_small_model_s_template_is_used_if_a_server_tells_none(
    ollama: tuple[str, list[dict[str, Any]]], open_pair: OpenRemote
) -> None:
    url, asked = ollama
    pair = open_pair(large_url=url, threshold=0)
    assert "the small model's is used" in pair.notices[0]
    assert "takes text alone" in pair.notices[1]
    fold(Session(pair, seed=1).ask("What is 3 + 4?"))
    assert asked[0]["prompt"].startswith("<|im_start|>user: What is 3 + 4?<|im_end|>")


def test_ollama_gets_raw_prompts_and_the_context_with_each(
    tmp_path: Path, ollama: tuple[str, list[dict[str, Any]]], open_pair: OpenRemote
) -> None:
    url, asked = ollama
    template = tmp_path / "template.jinja"
    template.write_text(THINKING, encoding="utf-8")
    pair = open_pair(large_url=url, policy="large", chat_template=str(template), context=4096)
    assert pair.backends["large"].where.startswith("Ollama 0.34.1 at 127.0.0.1:")
    solution = fold(Session(pair, seed=1).ask("How many steps?"))
    assert (solution.thought.strip(), solution.answer, solution.finish_reason) == ("One step.", "\\boxed{1}", "done")
    assert {request["path"] for request in asked} == {"/api/generate"}
    assert all(request["raw"] and request["options"]["num_ctx"] == 4096 for request in asked)
    assert "How many steps?" in asked[0]["prompt"]
