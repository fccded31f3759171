"""Finding a model's file without asking any network, and that the command in the hint puts it where it is found."""

import hashlib
import shlex
from pathlib import Path

import pytest

from glimp_local.errors import ModelMissingError
from glimp_local.models import files
from glimp_local.records.entropies import LIMIT, EntropyHistory
from glimp_local.settings import ModelSource
from tests.support.entropies import history_of
from tests.support.hub_server import Content, Hub
from tests.support.pulling import models

PINNED = "a" * 40


@pytest.fixture
def source() -> ModelSource:
    return ModelSource(repo="maker/model-GGUF", revision=PINNED, file="model.gguf", size_bytes=4, sha256="0" * 64)


def cache(home: Path, revision: str, content: bytes = b"GGUF") -> Path:
    path = home / "hub" / "hub" / "models--maker--model-GGUF" / "snapshots" / revision / "model.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.fixture(autouse=True)
def hub_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The hub's library reads its environment once, when it is imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub" / "hub"))


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF")
    assert files.find(ModelSource(path=str(path))) == path


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match=r"nowhere\.gguf: no such file"):
        files.find(ModelSource(path=str(tmp_path / "nowhere.gguf")))


def test_a_missing_download_comes_with_its_command(source: ModelSource) -> None:
    with pytest.raises(ModelMissingError, match="not on this machine") as caught:
        files.find(source)
    assert caught.value.hint == "glimp models pull maker/model-GGUF/model.gguf"


def test_the_pinned_revision_is_preferred(home: Path, source: ModelSource) -> None:
    cache(home, "b" * 40)
    pinned = cache(home, PINNED)
    assert files.find(source) == pinned


def test_another_revision_with_a_file_of_that_size_will_do(home: Path, source: ModelSource) -> None:
    other = cache(home, "b" * 40)
    assert files.find(source) == other


def test_a_file_of_another_size_is_not_the_model(home: Path, source: ModelSource) -> None:
    cache(home, "b" * 40, b"GGUF, but longer")
    with pytest.raises(ModelMissingError):
        files.find(source)


def test_the_command_in_the_hint_puts_the_file_where_it_is_found(source: ModelSource, hub: Hub) -> None:
    hub.put("maker/model-GGUF", "model.gguf", Content(b"GGUF"))
    hub.commits[PINNED] = PINNED
    with pytest.raises(ModelMissingError) as caught:
        files.find(source)
    glimp, command, *arguments = shlex.split(str(caught.value.hint))
    assert (glimp, command) == ("glimp", "models")
    done = models(*arguments)
    assert done.code == 0, done.err
    assert files.find(source).read_bytes() == b"GGUF"


def test_a_pair_s_missing_models_come_with_one_command_for_the_pair(source: ModelSource, tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError) as caught:
        files.find_all({"small": source, "large": source}, "my pair")
    assert caught.value.hint == "glimp models pull 'my pair'"
    with pytest.raises(ModelMissingError) as caught:
        files.find_all({"small": ModelSource(path=str(tmp_path / "x.gguf")), "large": source}, "mine")
    assert caught.value.hint == "check the path; glimp models pull mine"


def test_a_split_model_is_here_when_all_its_files_are(home: Path) -> None:
    source = ModelSource(repo="maker/model-GGUF", file="model-00001-of-00002.gguf", size_bytes=8)
    first = cache(home, PINNED).rename(cache(home, "b" * 40).with_name("model-00001-of-00002.gguf"))
    with pytest.raises(ModelMissingError, match=r"\(8 bytes\) is not on this machine; 4 bytes are"):
        files.find(source)
    first.with_name("model-00002-of-00002.gguf").write_bytes(b"GGUF")
    assert files.find(source) == first


def test_a_split_model_at_a_path_lacks_the_file_that_is_named(tmp_path: Path) -> None:
    first = tmp_path / "x-00001-of-00002.gguf"
    first.write_bytes(b"GGUF")
    with pytest.raises(ModelMissingError, match=r"x-00002-of-00002\.gguf: no such file"):
        files.find(ModelSource(path=str(first)))


@pytest.fixture
def history(tmp_path: Path) -> EntropyHistory:
    for name in ("small.gguf", "large.gguf"):
        (tmp_path / name).write_bytes(b"GGUF " + name.encode())
    return history_of(tmp_path / "small.gguf", tmp_path / "large.gguf")


def test_the_history_of_a_pair_grows_and_is_bounded(history: EntropyHistory) -> None:
    assert history.read() == []
    history.add([0.5, 1.5])
    history.add([2.5])
    assert history.read() == [0.5, 1.5, 2.5]
    history.add([float(i) for i in range(LIMIT)])
    assert history.read() == [float(i) for i in range(LIMIT)]


def test_another_pair_has_another_history(history: EntropyHistory, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF other.gguf")
    assert history_of(other, tmp_path / "large.gguf").path != history.path
    other.write_bytes((tmp_path / "small.gguf").read_bytes())  # a copy is the same model
    assert history_of(other, tmp_path / "large.gguf").path == history.path


def test_entropies_stored_by_the_names_of_the_files_are_taken_over_once(
    history: EntropyHistory, tmp_path: Path
) -> None:
    # As glimp 0.1.0 named the file of a pair of "small.gguf" and "large.gguf" of 15 bytes each.
    key = hashlib.sha256(b"small.gguf:15|large.gguf:15|None").hexdigest()[:16]
    former = history.path.with_name(f"{key}.json")
    former.parent.mkdir(parents=True)
    former.write_bytes(b"[0.5,1.5]")
    assert history.read() == [0.5, 1.5]
    assert not former.exists()
    former.write_bytes(b"[9.0]")
    history.add([2.5])
    assert history_of(tmp_path / "small.gguf", tmp_path / "large.gguf").read() == [0.5, 1.5, 2.5]
    assert former.read_bytes() == b"[9.0]"


def test_entropies_of_before_are_those_that_a_calibration_replaces(history: EntropyHistory) -> None:
    key = hashlib.sha256(b"small.gguf:15|large.gguf:15|None").hexdigest()[:16]
    former = history.path.with_name(f"{key}.json")
    former.parent.mkdir(parents=True)
    former.write_bytes(b"[0.5,1.5]")
    history.replace([2.5])
    assert (history.read(), former.exists()) == ([2.5], False)


def test_a_damaged_history_is_begun_anew(history: EntropyHistory) -> None:
    history.add([1.0])
    history.path.write_bytes(b"[1.0, ")
    assert history.read() == []
    history.add([2.0])
    assert history.read() == [2.0]


def test_a_history_that_cannot_be_written_stops_nothing(history: EntropyHistory) -> None:
    history.path.parent.parent.mkdir(parents=True, exist_ok=True)
    history.path.parent.write_bytes(b"a file where the folder should be")
    history.add([1.0])
