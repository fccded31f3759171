"""`glimp doctor`: what it says of a machine, whatever is broken on it, and what it must not say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from glimp_local import hardware
from glimp_local.engines.llama.release import RELEASE
from glimp_local.machine.doctor.report import Examination
from tests.conftest import BUILTIN
from tests.support.commands import GLIMP, Glimp, mine
from tests.support.llama_server import LlamaServer
from tests.support.server_process import free_port

SECRET = "open-sesame-1234"

SUBJECTS = {
    *(
        "packages",
        "kernels",
        "llama.cpp",
        "devices",
        "GPU",
        "threads",
        "memory",
        "folders",
        "models.toml",
        "pairs",
        "terminal",
    ),
    "variables",
}


@pytest.mark.slow
def test_the_report_has_every_subject_in_words_and_in_json(glimp: Glimp, home: Path) -> None:
    before = sorted(home.rglob("*"))
    result = glimp("doctor")
    assert RELEASE in result.out
    assert "~/config/glimp/models.toml (not there yet)" in result.out
    assert "a token comes out of the built-in small model" in result.out
    assert "glimp doctor --tune" in result.out
    found = json.loads(glimp("doctor", "--json").out)
    assert {finding["subject"] for finding in found["findings"]} == SUBJECTS
    assert found["llama_cpp_python"] == RELEASE
    assert 1 <= found["physical_cores"] <= found["logical_cores"]
    assert found["data_folder"] == "~/data/glimp"
    assert [pair["pair"] for pair in found["pairs"] if pair["ready"]] == ["builtin"]
    assert found["default_pair"] == "builtin"
    assert found["tuning"] is None
    needs_doing = [finding for finding in found["findings"] if finding["level"] == "needs doing"]
    assert result.code == (1 if needs_doing else 0)
    assert all(finding["do"] for finding in needs_doing)
    assert sorted(home.rglob("*")) == before


@pytest.mark.slow
def test_a_broken_models_toml_is_a_finding_and_hides_nothing_else(glimp: Glimp) -> None:
    mine("[pairs.builtin]\ntreshold = 1\n")
    result = glimp("doctor")
    assert result.code == 1
    assert "unknown key `treshold` (did you mean 'threshold'?)" in result.out
    assert "a token comes out" in result.out
    assert "Traceback" not in result.err
    found = json.loads(glimp("doctor", "--json").out)
    assert found["pairs"] == []
    assert {finding["subject"] for finding in found["findings"]} == SUBJECTS - {"pairs"}


@pytest.mark.process
def test_a_llama_cpp_that_does_not_load_is_a_finding_and_hides_nothing_else(
    glimp: Glimp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "llama_cpp.py"
    fake.write_text("raise ImportError('libcuda.so.1: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = glimp("doctor")
    assert result.code == 1
    assert "llama.cpp does not start: llama-cpp-python cannot be loaded: libcuda.so.1: cannot open" in result.out
    assert "do: compile it on this machine: pip install" in result.out
    assert "Traceback" not in result.err
    for other in (["solve", "--text", "?"], ["doctor", "--tune"]):
        result = glimp(*other)
        assert (result.code, "Traceback" in result.err) == (1, False)
        assert "llama-cpp-python cannot be loaded: libcuda.so.1" in result.err
    found = json.loads(glimp("doctor", "--json").out)
    assert found["probe"]["build"] is None
    assert {finding["subject"] for finding in found["findings"]} == SUBJECTS - {"devices"}


@pytest.mark.process
@pytest.mark.parametrize(
    ("fake", "says"),
    [
        ("raise OSError('libgomp.so.1: cannot open')", "llama-cpp-python cannot be loaded: libgomp.so.1: cannot open"),
        ("import ctypes; ctypes.string_at(0)", "ended by SIGSEGV"),  # a build for another processor, say
    ],
)
def test_a_pair_is_found_where_llama_cpp_does_not_load(
    glimp: Glimp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: str, says: str
) -> None:
    (tmp_path / "llama_cpp.py").write_text(fake)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    mine(f'[pairs.mine]\nsmall.path = "{glimp.tiny / "small.gguf"}"\nlarge.path = "{glimp.tiny / "large.gguf"}"\n')
    result = glimp("doctor")
    assert (result.code, "Traceback" in result.err) == (1, False)
    assert f"llama.cpp does not start: {says}" in result.out
    assert "here: builtin, mine" in result.out
    assert "1 thing needs doing" in result.out


@pytest.mark.process
def test_no_connection_is_opened(glimp: Glimp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = "import socket\n\ndef refuse(*_):\n    raise SystemExit('a socket')\n\nsocket.socket = refuse\n"
    (tmp_path / "sitecustomize.py").write_text(blocked)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = glimp("doctor")
    assert "a socket" not in result.out + result.err
    assert "a token comes out" in result.out


def test_a_server_that_cannot_be_reached_needs_doing_for_the_default_pair_alone(
    examined: Callable[..., Examination], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    large = f'large = {{url = "http://127.0.0.1:{port}"}}\n'
    small = f"small = {{path = '{BUILTIN / 'small.gguf'}'}}\n"
    wrong = f'[pairs.wrong]\n{small}large = {{url = "http://me:{SECRET}@box:8000"}}\n'
    monkeypatch.setenv("BOX_KEY", SECRET)
    keyed = large.replace("}", ', key_env = "BOX_KEY"}')
    mine(f"[pairs.near]\n{small}{large}[pairs.keyed]\n{small}{keyed}{wrong}")
    for default, level in (("near", "needs doing"), ("builtin", "to know")):
        found = examined(default)
        assert SECRET not in msgspec.json.encode(found).decode()
        said = {finding.says: finding for finding in found.findings if finding.subject == "servers"}
        assert said[f"near: large on 127.0.0.1:{port}: nothing listens there"].level == level
        assert said[f"near: large on 127.0.0.1:{port}: nothing listens there"].do is not None
        assert said[f"keyed: large on 127.0.0.1:{port}: nothing listens there"].level == "to know"
        (unusable,) = (finding for says, finding in said.items() if says.startswith("wrong: "))
        assert (unusable.level, unusable.do) == (
            "needs doing",
            "set key_env, or key_file, of this model in your models.toml",
        )
        assert set(found.servers) == {"near", "keyed", "wrong"}
    (here,) = (finding.says for finding in found.findings if finding.says.startswith("here: "))
    assert f"near (large on 127.0.0.1:{port})" in here


@pytest.mark.process
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_of_servers_it_is_said_what_they_run_and_not_where_they_are(glimp: Glimp, flags: list[str]) -> None:
    small = f"small = {{path = '{BUILTIN / 'small.gguf'}'}}\n"
    elsewhere = f"127.0.0.7:{free_port()}"  # not the usual name of this machine, so as private as any other
    with LlamaServer(BUILTIN / "large.gguf") as server:
        near, far = (f"large = {{url = '{url}'}}\n" for url in (server.url, f"http://{elsewhere}"))
        mine(f"[pairs.near]\n{small}{near}[pairs.far]\n{small}{far}")
        out = glimp("doctor", *flags).out
    assert f"near: large on 127.0.0.1:{server.port}: llama-server" in out
    assert "near: the two models have one vocabulary: token ids are handed over" in out
    assert f"far: large on <server>:{elsewhere[-5:].lstrip(':')}: nothing listens there" in out
    assert "127.0.0.7" not in out


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_nothing_in_it_is_private(glimp: Glimp, home: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]) -> None:
    monkeypatch.setenv("USER", "jane")
    monkeypatch.setenv("LOGNAME", "jane")
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz0123456789")
    monkeypatch.setenv("HTTPS_PROXY", "http://jane:secret@proxy.example:3128")
    monkeypatch.setenv("GLIMP_PAIR", "mail@jane.example.org")
    mine(f'[pairs.builtin]\npolicy = "{home}/hf_abcdefghijklmnopqrstuvwxyz0123456789"\n')
    out = glimp("doctor", *flags).out
    assert "HF_TOKEN" in out
    assert "HTTPS_PROXY" in out
    assert "invalid enum value '~/<token>'" in out
    for private in (str(home), "jane", "secret", "proxy.example", "hf_abc", "example.org"):
        assert private not in out, private


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_of_folders_outside_home_the_beginning_is_shown_and_whether_they_serve(
    glimp: Glimp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    outside = tmp_path / "jane-private" / "the acme, plan"
    outside.mkdir(parents=True)
    models_file = outside / "models.toml"
    models_file.write_text('default = "x"\n[pairs.x]\nsmall.path = "acme/a.gguf"\nlarge.path = "acme/b.gguf"\n')
    monkeypatch.setenv("USER", "jane")
    monkeypatch.setenv("LOGNAME", "jane")
    monkeypatch.setenv("XDG_DATA_HOME", str(outside / "data"))
    monkeypatch.setenv("HF_HOME", str(outside / "models of acme"))
    out = glimp("doctor", "--models", models_file, *flags).out
    for private in ("jane", "acme", "plan", str(tmp_path)):
        assert private not in out, private
    first = f"/{tmp_path.parts[1]}/…"
    assert f"data: {first} (not there yet)" in out
    assert f"hub cache: {first} (not there yet)" in out
    assert f"your models.toml: {first}/models.toml, " in out
    assert "/a.gguf: no such file" in out
    if flags:
        folders = json.loads(out)["folders"]
        assert [folder["path"] for folder in folders] == [f"{first}/models.toml", first, first]
        assert all(folder["writable"] and folder["free_bytes"] for folder in folders)


def test_what_cannot_be_examined_is_said_and_hides_nothing_else(
    examined: Callable[..., Examination], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Any:
        raise ZeroDivisionError("odd")

    for name in ("memory", "cpus", "gpus"):
        monkeypatch.setattr(hardware, name, fail)
    found = examined()
    assert (found.memory, found.cpus, found.physical_cores, found.gpus_found) == (None, None, None, None)
    failed = [finding for finding in found.findings if finding.says == "could not be examined: ZeroDivisionError: odd"]
    assert [finding.subject for finding in failed] == ["GPU", "threads", "memory", "machine"]
    assert {finding.level for finding in failed} == {"needs doing"}
    assert all(finding.do for finding in failed)
    assert {finding.subject for finding in found.findings} == SUBJECTS - {"devices"} | {"machine"}


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no addresses")
@pytest.mark.parametrize("limit", [60_000_000, 150_000_000, 260_000_000])
def test_too_little_address_space_is_said_and_ends_in_no_abort(limit: int) -> None:
    import resource  # noqa: PLC0415 - not on every platform

    done = subprocess.run(
        [*GLIMP, "solve", "--text", "How many?"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr == (
        f"glimp: llama-cpp-python cannot be loaded: this process may have {limit / 2**20:.0f} MiB of address space, "
        "and takes 288 MiB at least\nhint: raise the limit, which `ulimit -v` shows: ulimit -v unlimited\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no addresses")
def test_a_limit_of_addresses_is_a_limit_of_memory() -> None:
    import resource  # noqa: PLC0415 - not on every platform

    code = "from glimp_local import hardware; print(hardware.address_space_limit(), hardware.memory().free_bytes)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9)),
        capture_output=True,
        text=True,
        check=True,
    )
    limit, free = map(int, done.stdout.split())
    assert (limit, 0 < free < 10**9 - 10**7) == (10**9, True)


_CHAIN = """
try:
    raise OSError("libx.so: failed to map segment from shared object")
except OSError as error:
    raise ImportError("\\n\\nIMPORTANT: PLEASE READ THIS") from error
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("fake", "said"),
    [
        ("raise MemoryError", "because memory is short: MemoryError\nhint: close other programs, or raise the limit"),
        (_CHAIN, "because memory is short: libx.so: failed to map segment from shared object\nhint: close other"),
        ("raise ImportError('\\n\\nno\\n')", "cannot be loaded: no\nhint: compile it on this machine"),
        ("raise ImportError", "cannot be loaded: ImportError\nhint: compile it on this machine"),
    ],
)
def test_why_llama_cpp_does_not_load_is_one_sentence(
    glimp: Glimp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: str, said: str
) -> None:
    (tmp_path / "llama_cpp.py").write_text(fake)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = glimp("solve", "--text", "How many?")
    assert result.code == 1
    assert said in result.err
    assert len(result.err.splitlines()) == 2


def test_a_limit_of_a_container_is_said(examined: Callable[..., Examination], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cpus", lambda: hardware.Cpus(16, 32, 4, 2.0))
    monkeypatch.setattr(hardware, "memory", lambda: hardware.Memory(2**35, 2**31, 0, 0, 2**32, 2**31))
    says = {finding.says: finding.level for finding in examined().findings}
    cores = (
        "16 physical cores, 32 logical, but this process may run on 4 of them and may spend the time of 2 (the limit "
        "of its container or control group): glimp takes 2 threads for a model, one for a tiny one"
    )
    assert says[cores] == "to know"
    assert says["its container or control group lets this process have 4.00 GiB only"] == "to know"
    assert any(text.startswith("memory is scarce now") for text in says)


@pytest.mark.process
def test_a_terminal_without_unicode_or_colours_is_said(glimp: Glimp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("NO_COLOR", "1")
    result = glimp("doctor")
    assert "colours: none; encoding: ascii" in result.out
    assert "becomes a question mark" in result.out


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_lines_are_as_long_as_the_terminal_is_wide_and_whole_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    import pty  # noqa: PLC0415 - not on every platform

    monkeypatch.setenv("COLUMNS", "70")
    ours, its = pty.openpty()
    done = subprocess.run([*GLIMP, "doctor"], stdout=its, stderr=its, timeout=60, check=False)
    os.close(its)
    drawn = b""
    with suppress(OSError):  # Linux calls the end an error
        while part := os.read(ours, 65536):
            drawn += part
    os.close(ours)
    assert done.returncode in {0, 1}
    shown = re.sub(r"\x1b\[[0-9;]*m", "", drawn.decode()).replace("\r\n", "\n")
    findings = shown.split("\n\n")[1].splitlines()
    lines = [line for line in findings if not line.lstrip().startswith("do: ")]
    assert max(map(len, lines)) <= 70
    assert "\n" + " " * 25 + "qwen3" in shown
    piped = subprocess.run([*GLIMP, "doctor"], capture_output=True, text=True, timeout=60, check=False).stdout
    assert not [line for line in piped.splitlines() if line.startswith(" ") and not line.lstrip().startswith("do: ")]
    assert max(map(len, piped.splitlines())) > 100
