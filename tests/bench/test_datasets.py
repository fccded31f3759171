"""Data sets of the hub, with the hub's own client and a server of its protocol; the network only when told to."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from glimp_local.bench import datasets
from glimp_local.bench.datasets import rows
from glimp_local.bench.problems import Problem, read_problems
from glimp_local.errors import UsageError

COMMIT = "a" * 40


def as_parquet(table: Sequence[Mapping[str, object]]) -> bytes:
    written = BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(table)), written)
    return written.getvalue()


GSM8K = [
    {"question": "Janet's ducks?", "answer": "16 - 3 - 4 = <<16-3-4=9>>9\n#### 18"},
    {"question": "How much?", "answer": "It is\n#### 1,080"},
]
AIME = [{"id": 60, "problem": "Find it.", "solution": "Of course.", "answer": "204", "url": "x", "year": "2024"}]
GPQA = """\
Pre-Revision Question,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,Record ID,Canary
Old?,"How far does the made-up beetle walk,
and where to?",3 km,"4 km ",5 km,"It ""stays"", at home.",rec1,none of the real ones is here
Old?,How heavy is it?,1 g,2 g,3 g,4 g,rec2,
"""
"""In the form of GPQA's files; the questions are made up: its authors ask that none of theirs is published as text."""
REPOS = {
    "openai/gsm8k": {
        "README.md": b"# GSM8K",
        "main/test-00000-of-00001.parquet": as_parquet(GSM8K),
        "main/train-00000-of-00001.parquet": b"not asked for",
    },
    "HuggingFaceH4/MATH-500": {
        "test.jsonl": b'{"problem": "1/2?", "answer": "\\\\frac12", "unique_id": "test/algebra/1.json"}\n'
    },
    "HuggingFaceH4/aime_2024": {"data/train-00000-of-00001.parquet": as_parquet(AIME)},
    "math-ai/aime25": {"test.jsonl": b'{"problem": "Find the other.", "answer": "70", "id": "0"}\n'},
    "Idavidrein/gpqa": {"gpqa_diamond.csv": GPQA.encode(), "gpqa_main.csv": b"not asked for"},
}


class Hub(ThreadingHTTPServer):
    """As much of the hub as the download of a data set takes; it remembers who asked for what."""

    def __init__(self) -> None:
        self.repos = {name: dict(files) for name, files in REPOS.items()}
        self.gated: dict[str, str] = {}
        """The token that was granted access, by repository: only files are behind the gate, as on the hub."""
        self.refusal: tuple[int, dict[str, str]] | None = None
        self.body = b"{}"
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Answerer)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answerer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.respond()

    def do_GET(self) -> None:
        body = self.respond()
        self.wfile.write(body)

    def respond(self) -> bytes:
        path = urlsplit(self.path).path
        self.server.asked.append(f"{self.command} {path}")
        if self.server.refusal is not None:
            status, headers = self.server.refusal
            return self.send(status, self.server.body, headers)
        for repo, files in self.server.repos.items():
            if path == f"/api/datasets/{repo}/revision/main":
                siblings = [{"rfilename": name} for name in files]
                return self.send(200, json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings}).encode())
            if path == f"/api/datasets/{repo}/tree/{COMMIT}":
                tree = [
                    {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                    for name, content in files.items()
                ]
                return self.send(200, json.dumps(tree).encode())
            begin = f"/datasets/{repo}/resolve/{COMMIT}/"
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if path.startswith(begin) and self.server.gated.get(repo, token) != token:
                return self.send(403 if token else 401, b"{}", {"X-Error-Code": "GatedRepo"})
            if path.startswith(begin) and (content := files.get(path.removeprefix(begin))) is not None:
                etag = f'"{hashlib.sha256(content).hexdigest()}"'
                return self.send(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT})
        return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        return body

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Read(msgspec.Struct):
    """What came of reading: problems or an error."""

    problems: list[Problem] = []
    code: int = 0
    error: str = ""
    hint: str | None = None


Reader = Callable[..., Read]

PROGRAM = """\
import sys
import msgspec
from glimp_local.bench.problems import read_problems
from glimp_local.errors import GlimpError
try:
    found = {"problems": read_problems(sys.argv[1], download="--download" in sys.argv)}
except GlimpError as error:
    found = {"code": error.exit_code, "error": str(error), "hint": error.hint}
sys.stdout.buffer.write(msgspec.json.encode(found))
"""


@pytest.fixture
def read(hub: Hub) -> Reader:
    """Read in a process of its own: the hub's client reads its environment once, when it is imported."""

    def read_(*arguments: str, **environment: str) -> Read:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            env={**os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return msgspec.json.decode(done.stdout, type=Read)

    return read_


def test_a_parquet_set_is_downloaded_once_and_read_without_a_network(hub: Hub, read: Reader) -> None:
    expected = [Problem("1", "Janet's ducks?", "18"), Problem("2", "How much?", "1,080")]
    assert read("gsm8k", "--download").problems == expected
    assert not [asked for asked in hub.asked if "train" in asked or "README" in asked]
    hub.shutdown()
    hub.server_close()
    assert read("gsm8k").problems == expected
    assert read("gsm8k", "--download").problems == expected


def test_a_set_of_json_lines_keeps_the_hub_s_ids(read: Reader) -> None:
    expected = [Problem("test/algebra/1.json", "1/2?", r"\frac12")]
    assert read("math500", "--download").problems == expected
    assert read("math500").problems == expected


def test_other_columns_are_left_alone(read: Reader) -> None:
    assert read("aime24", "--download").problems == [Problem("60", "Find it.", "204")]
    assert read("aime25", "--download").problems == [Problem("0", "Find the other.", "70")]


GPQA_PROBLEMS = [
    Problem(
        "rec1",
        "How far does the made-up beetle walk,\nand where to?\n\n"
        '(A) 4 km\n(B) 3 km\n(C) It "stays", at home.\n(D) 5 km',
        "B",
        ("4 km", "3 km", 'It "stays", at home.', "5 km"),
    ),
    Problem("rec2", "How heavy is it?\n\n(A) 3 g\n(B) 2 g\n(C) 4 g\n(D) 1 g", "D", ("3 g", "2 g", "4 g", "1 g")),
]


def test_gpqa_is_read_with_its_choices_in_an_order_of_their_own(hub: Hub, read: Reader, tmp_path: Path) -> None:
    assert read("gpqa-diamond", "--download").problems == GPQA_PROBLEMS
    assert not [asked for asked in hub.asked if "main.csv" in asked]
    assert read("gpqa-diamond").problems == GPQA_PROBLEMS
    # A file from elsewhere, its rows in another order: the same problems.
    head, *rows_ = GPQA.replace("walk,\n", "walk,@").splitlines()
    path = tmp_path / "gpqa_diamond.csv"
    path.write_bytes("\r\n".join(["\ufeff" + head, *reversed(rows_)]).replace("@", "\n").encode())
    assert read(str(path)).problems == GPQA_PROBLEMS[::-1]


def test_a_gated_set_is_given_to_a_token_that_was_granted_access(hub: Hub, read: Reader) -> None:
    hub.gated["Idavidrein/gpqa"] = "hf_granted"
    assert read("gpqa-diamond", "--download", HF_TOKEN="hf_granted").problems == GPQA_PROBLEMS


@pytest.mark.parametrize(
    ("token", "status", "way"),
    [
        ("", 401, ", then: hf auth login (or set HF_TOKEN)"),
        ("hf_other", 403, " with the account of your token"),
    ],
)
def test_a_gated_set_names_the_page_with_the_terms_to_accept(
    hub: Hub, read: Reader, token: str, status: int, way: str
) -> None:
    hub.gated["Idavidrein/gpqa"] = "hf_granted"
    found = read("gpqa-diamond", "--download", HF_TOKEN=token)
    assert found.code == 1
    assert found.error == (
        f"Idavidrein/gpqa is gated: the hub gives it only to accounts that have accepted its terms ({status})"
    )
    assert str(found.hint).replace(", with", " with") == f"accept them at {hub.address}/datasets/Idavidrein/gpqa{way}"
    assert "hf_other" not in f"{found.error}{found.hint}"


def test_a_gated_set_that_is_not_here_says_where_its_terms_are(hub: Hub, read: Reader) -> None:
    found = read("gpqa-diamond")
    assert found.code == 2
    assert "gpqa-diamond (Idavidrein/gpqa, 198 problems, licence: CC BY 4.0) is not on this machine" in found.error
    assert found.hint == (
        f"--download fetches it, if the terms at {hub.address}/datasets/Idavidrein/gpqa are accepted with the account "
        "of your token"
    )
    assert hub.asked == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Question,Correct Answer\n\xff,1\n", "this is not UTF-8"),
        (b'problem,answer\n"1+1?,2\n', "this is not a CSV file that can be read"),
        (b"problem,answer\n1+1?,2\n,3\n", ":3: the problem is empty"),
        (b"this,that\n1,2\n", ":2: there is neither `problem` nor `question`"),
        (GPQA.replace("3 km", "5 km").encode(), "the answer '5 km' could be any of the choices"),
        (GPQA.replace("2 g", "").encode(), ":3: a choice is empty"),
    ],
)
def test_a_csv_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_problems(str(path))
    assert said in str(caught.value).replace(f"{path}: ", "").replace(str(path), "")


@pytest.mark.parametrize("name", ["gsm8k", "math500", "aime24", "aime25"])
def test_without_the_flag_the_network_is_not_touched(hub: Hub, read: Reader, name: str) -> None:
    found = read(name)
    assert found.code == 2
    assert "is not on this machine" in found.error
    assert found.hint == "--download fetches it"
    assert hub.asked == []


def test_other_files_of_a_set_in_the_cache_are_not_the_problems(hub: Hub, read: Reader) -> None:
    test = hub.repos["openai/gsm8k"].pop("main/test-00000-of-00001.parquet")
    found = read("gsm8k", "--download")
    assert found.code == 1
    assert found.error == "openai/gsm8k holds no file main/test*.parquet (any more)"
    hub.repos["openai/gsm8k"]["main/test-00000-of-00001.parquet"] = test
    assert read("gsm8k").hint == "--download fetches it"


def test_a_set_that_is_gone_is_said(hub: Hub, read: Reader) -> None:
    del hub.repos["math-ai/aime25"]
    found = read("aime25", "--download")
    assert found.code == 1
    assert "the hub has no data set math-ai/aime25" in found.error


@pytest.mark.parametrize(("status", "code"), [(401, "RepoNotFound"), (403, ""), (401, "")])
def test_a_set_behind_a_login_names_the_command_to_log_in(hub: Hub, read: Reader, status: int, code: str) -> None:
    hub.refusal = status, {"X-Error-Code": code} if code else {}
    found = read("gsm8k", "--download")
    assert found.code == 1
    assert f"logged in and was granted access ({status})" in found.error
    assert found.hint == "hf auth login"


@pytest.mark.parametrize("status", [400, 500, 503])
def test_a_hub_that_fails_is_said(hub: Hub, read: Reader, status: int) -> None:
    hub.refusal = status, {}
    found = read("gsm8k", "--download")
    assert found.code == 1
    assert found.error == f"openai/gsm8k could not be downloaded: the hub answers {status}"


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b"[" * 100_000, b'{"sha": 7, "siblings": 7}', b"<html>"])
def test_a_list_of_files_that_is_none_is_said(hub: Hub, read: Reader, body: bytes) -> None:
    hub.refusal, hub.body = (200, {}), body
    found = read("gsm8k", "--download")
    assert found.code == 1
    assert found.error == "openai/gsm8k could not be downloaded: what the hub answers is no list of files"
    assert str(found.hint).startswith("check the connection")


def test_no_connection_is_said(hub: Hub, read: Reader) -> None:
    hub.shutdown()
    hub.server_close()
    found = read("gsm8k", "--download")
    assert found.code == 1
    assert "could not be downloaded: " in found.error
    assert "refused" in found.error
    assert str(found.hint).startswith("check the connection")


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, read: Reader) -> None:
    (tmp_path / "file").touch()
    found = read("gsm8k", "--download", HF_HUB_CACHE=str(tmp_path / "file" / "hub"))
    assert found.code == 1
    assert found.error.startswith(f"openai/gsm8k could not be kept: {tmp_path / 'file'}")
    assert "set HF_HOME" in str(found.hint)


def test_a_download_that_the_environment_forbids_is_said(hub: Hub, read: Reader) -> None:
    found = read("gsm8k", "--download", HF_HUB_OFFLINE="1")
    assert (found.code, found.hint) == (2, "unset HF_HUB_OFFLINE")
    assert "HF_HUB_OFFLINE is set" in found.error
    assert hub.asked == []


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "test.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UsageError, match=r"test\.parquet: this is not a Parquet file"):
        rows(path)


def test_a_parquet_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "test.parquet"
    path.write_bytes(as_parquet([{"problem": "x" * 1000, "answer": "1"}] * 5000))
    assert path.stat().st_size < 100_000
    assert len(rows(path)) == 5000
    monkeypatch.setattr(datasets, "MOST_BYTES", 1_000_000)
    with pytest.raises(UsageError, match=r"test\.parquet holds more than 1\.0 MB of problems"):
        rows(path)


def test_a_parquet_file_without_pyarrow_names_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "test.parquet"
    path.write_bytes(as_parquet(GSM8K))
    (tmp_path / "pyarrow").mkdir()  # a package without what is looked for in it
    (tmp_path / "pyarrow" / "__init__.py").touch()
    code = f"from pathlib import Path\nfrom glimp_local.bench.datasets import rows\nrows(Path({str(path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "GlimpError: test.parquet is a Parquet file, and pyarrow is not installed" in done.stderr
    assert "hint: pip install 'glimp-local[bench]'" in done.stderr
