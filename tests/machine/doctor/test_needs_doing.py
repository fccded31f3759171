"""What `glimp doctor` finds of folders and pairs that needs doing, and that it hides nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from glimp_local.machine.doctor.finding import Finding
from glimp_local.machine.doctor.report import Examination
from tests.support.commands import Glimp, mine


def undone(found: Examination, subject: str) -> list[Finding]:
    return [finding for finding in found.findings if (finding.subject, finding.level) == (subject, "needs doing")]


def test_a_folder_that_cannot_be_written_needs_doing(
    examined: Callable[..., Examination], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "file"))
    found = examined()
    (finding,) = undone(found, "folders")
    assert finding.says.startswith(f"data: {home}/file/glimp")
    assert finding.says.endswith(f"cannot be written: {home}/file is no folder")
    assert [folder.writable for folder in found.folders] == [True, False, True]


def test_a_hub_cache_that_is_a_file_needs_doing(
    examined: Callable[..., Examination], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "file"))
    (finding,) = undone(examined(), "folders")
    assert finding.says == f"hub cache: {home}/file cannot be written: {home}/file is no folder"


def test_a_disk_that_is_full_needs_doing(examined: Callable[..., Examination], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000_000))
    (finding,) = undone(examined(), "pairs")
    assert finding.says.startswith("the smallest pair that is not here takes 3.1 GB, and 1.0 GB are free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    assert len(undone(examined(), "folders")) == 3


def test_a_default_that_is_not_here_needs_doing_and_so_does_one_that_nobody_knows(
    examined: Callable[..., Examination],
) -> None:
    mine('default = "qwen3-0.6b-4b"\n')
    found = examined()
    (finding,) = undone(found, "pairs")
    assert found.default_pair == "qwen3-0.6b-4b"
    assert "is not on this machine" in finding.says
    assert finding.do == "glimp models pull qwen3-0.6b-4b"
    (finding,) = undone(examined(pair="qwen3-0.6b-4"), "pairs")
    assert "there is no pair 'qwen3-0.6b-4' (did you mean" in finding.says


def test_a_pair_whose_file_is_damaged_needs_doing(
    examined: Callable[..., Examination], tiny: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes((tiny / "small.gguf").read_bytes()[:1000])
    mine(f'[pairs.a]\nsmall.path = "{cut}"\nlarge.path = "{tiny / "large.gguf"}"\n')
    found = examined()
    (finding,) = undone(found, "pairs")
    assert finding.says.startswith("the pair 'a': ")
    assert not next(state.ready for state in found.pairs if state.pair == "a")


@pytest.mark.parametrize("default", [None, "late"])
def test_a_pair_that_names_a_later_file_of_a_model_needs_doing_and_hides_no_other(
    examined: Callable[..., Examination], tiny: Path, default: str | None
) -> None:
    mine(f'[pairs.late]\nsmall.path = "m-00002-of-00003.gguf"\nlarge.path = "{tiny / "large.gguf"}"\n')
    found = examined(default)
    (finding,) = undone(found, "pairs")
    assert finding.says == "the pair 'late': m-00002-of-00003.gguf is number 2 of 3 files"
    assert finding.do == "name the first one: m-00001-of-00003.gguf"
    ready = {state.pair: state.ready for state in found.pairs}
    assert (ready["late"], ready["builtin"]) == (False, True)


def test_of_a_pair_with_a_path_that_leads_nowhere_no_size_is_said(
    examined: Callable[..., Examination], tiny: Path
) -> None:
    mine(f'[pairs.away]\nsmall.path = "nowhere.gguf"\nlarge.path = "{tiny / "large.gguf"}"\n')
    (says,) = [finding.says for finding in examined().findings if finding.says.startswith("not here, or in part")]
    assert "away (its file is missing)" in says
    assert "qwen3-0.6b-4b (3.1 GB)" in says


@pytest.mark.process
def test_a_setting_of_the_hub_that_it_cannot_read_needs_doing_and_hides_nothing_else(
    glimp: Glimp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "abc")
    result = glimp("doctor")
    assert (result.code, "Traceback" in result.err) == (1, False)
    assert "a token comes out" in result.out
    (first, *_) = [line for line in result.out.splitlines() if "HF_HUB_DOWNLOAD_TIMEOUT" in line]
    assert first.startswith("needs doing  folders")


def test_a_pair_that_uses_one_model_is_ready_with_that_one(examined: Callable[..., Examination], tiny: Path) -> None:
    small = tiny / "small.gguf"
    both = f'small.path = "{small}"\nlarge.path = "no.gguf"\n'
    mine(f'[pairs.a]\npolicy = "small"\n{both}[pairs.b]\n{both}')
    ready = {state.pair: state.ready for state in examined().pairs}
    assert (ready["a"], ready["b"]) == (True, False)
