"""Programs that people use with such servers ask `glimp serve`; none knows of glimp, none leaves this machine."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.server.conftest import Serve, Served
from tests.server.test_conduct import ENDLESS, endless, is_idle, until

pytestmark = [pytest.mark.process, pytest.mark.slow]

MODEL = "small + large"
ASKED: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How many steps?"}]
THOUGHT = "First one.\n\nSecond two:\n\nThird three.\n\n"
ANSWER = "Answer \\boxed{3}"
SCRIPTS = Path(__file__).with_name("clients")
NODE_CLIENTS = os.environ.get("GLIMP_NODE_CLIENTS", "")
"""Read before the tests' own environment replaces this one."""
OFF = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
"""What keeps these programs from asking others."""

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a program that may connect to this machine only, and return what it says."""
    log = tmp_path / "offline.log"
    offline = {"PYTHONPATH": str(SCRIPTS / "offline"), "OFFLINE_LOG": str(log), "NO_PROXY": "*"}

    def ran(*command: str | Path, **environment: str) -> str:
        done = subprocess.run(
            [str(word) for word in command],
            env=os.environ | offline | OFF | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not log.exists(), f"it tried to reach {log.read_text()}"
        assert done.returncode == 0, done.stderr
        return done.stdout

    return ran


def needs(package: str) -> pytest.MarkDecorator:
    reason = f"{package} is not installed: pip install -e '.[dev-clients]'"
    return pytest.mark.skipif(find_spec(package) is None, reason=reason)


def test_a_program_that_is_run_here_reaches_no_other_machine(run: Run, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"it tried to reach other\.example"):
        run(sys.executable, "-c", "import urllib.request as r; r.urlopen('http://other.example')")
    assert (tmp_path / "offline.log").read_text() == "other.example\n"


def test_openai_s_client_lists_and_describes_the_models(served: Served) -> None:
    ids = [model.id for model in served.client.models.list()]
    assert ids == [MODEL, f"{MODEL}:small", f"{MODEL}:large"]
    for name in ids:
        assert served.client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError, match="there is no model"):
        served.client.models.retrieve("gpt-5")


def test_openai_s_client_shows_the_headers(served: Served) -> None:
    raw = served.client.chat.completions.with_raw_response.create(model=MODEL, messages=ASKED)
    assert (raw.headers["x-glimp-pair"], raw.headers["x-glimp-policy"]) == (MODEL, "threshold")
    assert raw.parse().id == raw.headers["x-request-id"]
    with served.client.chat.completions.with_streaming_response.create(model=MODEL, messages=ASKED) as reply:
        assert reply.parse().choices[0].message.content == ANSWER


def test_openai_s_client_asks_several_questions_at_once(served: Served) -> None:
    async def ask() -> list[openai.types.chat.ChatCompletion]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0) as client:
            asked = (client.chat.completions.create(model=MODEL, messages=ASKED, temperature=0) for _ in range(6))
            return await asyncio.gather(*asked)

    replies = asyncio.run(ask())
    assert [reply.choices[0].message.content for reply in replies] == [ANSWER] * 6
    assert len({reply.id for reply in replies}) == 6


def test_openai_s_client_reads_streams_side_by_side(served: Served) -> None:
    async def ask(client: openai.AsyncOpenAI) -> tuple[str, str, int]:
        said, thought, usage = "", "", 0
        stream = await client.chat.completions.create(
            model=MODEL, messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            usage = chunk.usage.completion_tokens if chunk.usage else usage
            for choice in chunk.choices:
                said += choice.delta.content or ""
                thought += (choice.delta.model_extra or {}).get("reasoning_content", "")
        return said, thought, usage

    async def helper(client: openai.AsyncOpenAI) -> tuple[str, str, int]:
        async with client.chat.completions.stream(model=MODEL, messages=ASKED) as stream:
            said = [event.delta async for event in stream if event.type == "content.delta"]
            message = (await stream.get_final_completion()).choices[0].message
        return "".join(said), (message.model_extra or {})["reasoning_content"], 10

    async def both() -> list[tuple[str, str, int]]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0) as client:
            return list(await asyncio.gather(ask(client), helper(client), ask(client)))

    assert asyncio.run(both()) == [(ANSWER, THOUGHT, 10)] * 3


def test_a_stream_that_openai_s_client_closes_is_stopped(serving: Serve) -> None:
    served = endless(serving)
    body: dict[str, Any] = {**ENDLESS, "model": "rambling + rambling"}
    with served.client.chat.completions.create(**body, stream=True) as stream:
        assert next(iter(stream)).choices[0].delta.role == "assistant"
    until(lambda: is_idle(served), 5.0)


@needs("llm")
def test_llm_asks_streams_and_goes_on_with_a_conversation(served: Served, run: Run, tmp_path: Path) -> None:
    home = tmp_path / "llm"
    home.mkdir()
    (home / "extra-openai-models.yaml").write_text(
        f"- model_id: glimp\n  model_name: {MODEL}\n  api_base: {served.url}/v1\n"
    )

    def llm(*words: str) -> str:
        return run(sys.executable, "-m", "llm", *words, LLM_USER_PATH=str(home)).strip()

    assert "OpenAI Chat: glimp" in llm("models")
    assert llm("-m", "glimp", "-s", "Be brief.", "How many?") == ANSWER
    assert llm("-c", "Sure?") == ANSWER
    assert llm("-m", "glimp", "--no-stream", "-o", "temperature", "0", "-o", "max_tokens", "50", "How many?") == ANSWER
    first, second, alone = json.loads(llm("logs", "-n", "3", "--json"))
    assert first["conversation_id"] == second["conversation_id"] != alone["conversation_id"]
    assert second["input_tokens"] > first["input_tokens"], "the first question and its answer are sent again"
    assert [each["output_tokens"] for each in (first, second, alone)] == [10, 10, 10]
    assert json.loads(first["token_details"])["completion_tokens_details"] == {"reasoning_tokens": 7}


@needs("litellm")
def test_litellm_gets_answers_and_thoughts(served: Served, run: Run) -> None:
    said = json.loads(run(sys.executable, SCRIPTS / "with_litellm.py", f"{served.url}/v1", MODEL).splitlines()[-1])
    assert said.pop("usage") > 10
    assert "there is no model 'gpt-5' here" in said.pop("refused")
    assert said == {
        "content": ANSWER,
        "thought": THOUGHT,
        "finish": "stop",
        "streamed": ANSWER,
        "streamed thought": THOUGHT,
        "streamed usage": [10],
        "later": f"{ANSWER} {ANSWER}",
    }


@needs("langchain_openai")
def test_langchain_invokes_streams_and_batches(served: Served, run: Run) -> None:
    said = json.loads(run(sys.executable, SCRIPTS / "with_langchain.py", f"{served.url}/v1", MODEL))
    usage = said.pop("usage")
    assert (usage["output_tokens"], usage["output_token_details"]) == (10, {"reasoning": 7})
    assert usage["total_tokens"] == usage["input_tokens"] + 10
    assert said == {
        "content": ANSWER,
        "finish": "stop",
        "streamed": ANSWER,
        "streamed usage": [10],
        "batch": [ANSWER] * 3,
        "later": ANSWER,
        "chained": ANSWER.upper(),
    }


@pytest.mark.skipif(
    shutil.which("node") is None or not Path(NODE_CLIENTS, "node_modules").is_dir() or not NODE_CLIENTS,
    reason="needs Node, npm install --prefix FOLDER ai@6 @ai-sdk/openai-compatible@2, and GLIMP_NODE_CLIENTS=FOLDER",
)
def test_the_ai_sdk_gets_answers_and_thoughts(served: Served, run: Run) -> None:
    script = SCRIPTS / "with_ai_sdk.mjs"
    said = json.loads(run("node", script, f"{served.url}/v1", MODEL, GLIMP_NODE_CLIENTS=NODE_CLIENTS))
    assert said.pop("usage") > 10
    assert "there is no model 'gpt-5' here" in said.pop("refused")
    assert said == {
        "content": ANSWER,
        "thought": THOUGHT,
        "finish": "stop",
        "streamed": ANSWER,
        "streamed thought": THOUGHT,
        "streamed usage": 10,
    }
