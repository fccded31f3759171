"""`glimp doctor --tune`: what it measures, prints and writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from glimp_local.engines.llama import binding
from glimp_local.engines.llama.costs import LARGEST
from glimp_local.hardware import Device
from glimp_local.machine.survey import cores
from glimp_local.machine.tuning import thread_counts
from glimp_local.models.catalogue import load_catalogue
from glimp_local.paths import user_file
from glimp_local.settings import EngineOptions
from tests.support.commands import QUESTION, Glimp


def counts() -> list[int]:
    """Give the numbers of threads that are tried on this machine."""
    return thread_counts(*cores())


def options(file: Path | None = None) -> list[EngineOptions]:
    """Give how the built-in pair is loaded."""
    pair = load_catalogue(file).pair("builtin")
    assert pair.small is not None
    assert pair.large is not None
    return [pair.small.options, pair.large.options]


def test_flags_that_only_matter_for_tuning_are_refused_without_it(glimp: Glimp) -> None:
    result = glimp("doctor", "--pair", "builtin")
    assert result.code == 2
    assert "--pair has an effect with --tune alone" in result.err
    assert "add --tune" in result.err


@pytest.mark.slow
def test_tuning_writes_the_threads_of_both_models_and_keeps_all_else(glimp: Glimp) -> None:
    user_file().parent.mkdir(parents=True)
    mine = "# Mine.\n[pairs.builtin]\nthreshold = 0.2  # tried out\n"
    user_file().write_text(mine)
    result = glimp("doctor", "--tune", "--json", "--gpu-layers", "0")
    assert result.code == 0, result.err
    found = json.loads(result.out)["tuning"]
    assert found["pair"] == "builtin"
    assert Path(found["written"]).expanduser() == user_file()
    assert user_file().read_text().startswith(mine)
    for model, option in zip(("small", "large"), options(), strict=True):
        chosen = (found[model]["threads"], found[model]["threads_batch"])
        assert min(chosen) >= 1
        assert option == EngineOptions(threads=chosen[0], threads_batch=chosen[1])
        for phase, of_phase in (("decode", chosen[0]), ("prefill", chosen[1])):
            reached = {speed["threads"]: speed[f"{phase}_tokens_per_second"] for speed in found[model]["speeds"]}
            best = max(filter(None, reached.values()))
            assert of_phase == min(count for count, speed in reached.items() if speed and speed >= 0.97 * best)


@pytest.mark.slow
def test_tuning_writes_into_the_file_that_models_names(glimp: Glimp, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("")
    result = glimp("doctor", "--tune", "--models", file, "--gpu-layers", "0")
    assert result.code == 0, result.err
    assert "other.toml, for the pair" in result.out
    assert "threads   one token at a time   prompts of" in result.out
    assert "small: glimp built-in small" in result.out
    assert all(option.threads and option.threads_batch for option in options(file))
    assert not user_file().exists()


@pytest.mark.slow
def test_for_two_files_the_flags_to_use_are_printed(glimp: Glimp) -> None:
    paths = ["--small", str(glimp.tiny / "small.gguf"), "--large", str(glimp.tiny / "large.gguf")]
    result = glimp("doctor", "--tune", *paths, "--gpu-layers", "0")
    assert result.code == 0, result.err
    flags = result.out.split("The flags that say so: ")[1].split()
    assert [flag for flag in flags if flag.startswith("--")] == [
        *("--threads-small", "--threads-batch-small", "--threads-large", "--threads-batch-large"),
    ]
    assert not user_file().exists()
    assert glimp.solve("--text", QUESTION, *flags).code == 0


@pytest.mark.slow
def test_a_pair_that_uses_one_model_has_that_one_measured(glimp: Glimp) -> None:
    user_file().parent.mkdir(parents=True)
    user_file().write_text(f'[pairs.a]\npolicy = "small"\nsmall = {{path = "{glimp.tiny / "small.gguf"}"}}\n')
    found = json.loads(glimp("doctor", "--tune", "--pair", "a", "--json", "--gpu-layers", "0").out)["tuning"]
    assert found["large"] is None
    pair = load_catalogue().pair("a")
    assert pair.small is not None
    assert pair.small.options.threads == found["small"]["threads"]


def patched(patch: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `glimp` with something of it replaced."""
    code = f"import sys; sys.argv = {['glimp', *arguments]!r}\n{patch}\nfrom glimp_local.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.process
@pytest.mark.parametrize("moment", ["done < 0.1", "done == 1"])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interrupt_writes_nothing(name: str, code: int, moment: str) -> None:
    patch = (
        "import os, signal; from glimp_local.cli import run_tune\n"
        f"run_tune._show_done = lambda bar, task, done: {moment} and task == 1"
        f" and os.kill(os.getpid(), signal.{name})"
    )
    done = patched(patch, "doctor", "--tune")
    assert done.returncode == code
    assert "interrupted: nothing was written" in done.stderr
    assert done.stdout == ""
    assert not user_file().exists()


@pytest.mark.slow
def test_where_a_gpu_computes_everything_no_threads_are_chosen_but_batches_are_measured(
    glimp: Glimp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "devices", lambda: [Device("GPU0", "a GPU", "GPU", 8 * 2**30, 8 * 2**30)])
    done = glimp("doctor", "--tune")
    assert done.code == 0, done.err
    assert done.out.count("a GPU computes all layers, so that threads matter little") == 2
    assert done.out.count("a batch of 1, 2, 3, 4, 5, 8, 9, 16, 32 tokens takes") == 2
    assert "chosen: threads" not in done.out
    assert not user_file().exists()
    found = json.loads(glimp("doctor", "--tune", "--json", "--gpu-layers-small", "0").out)["tuning"]
    assert found["offloaded"] == ["large"]
    assert [len(found[model]["speeds"]) for model in ("small", "large")] == [len(counts()), 1]
    assert len(found["large"]["batch_seconds"]) == LARGEST
    small, large = options()
    assert isinstance(small.threads, int)
    assert large == EngineOptions()
