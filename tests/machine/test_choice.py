"""The pair that is used where none is named, what is offered beside it, and pairs for which memory is short."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from glimp_local import load_pair
from glimp_local.engines.llama import loading
from glimp_local.errors import BindingError, UsageError
from glimp_local.machine.choice import (
    Offer,
    default_pair,
    header_of,
    larger_offer,
    offer,
    pairs_here,
    plan_of,
    why_none,
)
from glimp_local.machine.survey import Gpu, Machine
from glimp_local.models.catalogue import load_catalogue
from glimp_local.paths import user_file
from glimp_local.settings import EngineOptions, ModelSource, PairConfig
from tests.support.commands import QUESTION, Glimp
from tests.support.tiny_models import LARGE, Vocabulary, write_attention, write_story

GIB = 2**30


@pytest.fixture
def models_toml(home: Path) -> Path:
    assert home in user_file().parents
    user_file().parent.mkdir(parents=True)
    return user_file()


def pair(name: str, small: Path, large: Path, more: str = "") -> str:
    return f"[pairs.{name}]\n{more}\nsmall = {{path = '{small}'}}\nlarge = {{path = '{large}'}}\n"


def room(monkeypatch: pytest.MonkeyPatch, free: float, *gpus: float) -> None:
    found = Machine(int(free), tuple(Gpu(f"GPU{i}", int(size)) for i, size in enumerate(gpus)))
    monkeypatch.setattr("glimp_local.machine.choice.survey", lambda: found)


def test_without_any_pair_the_built_in_one_is_used() -> None:
    assert default_pair(load_catalogue()) == "builtin"


def test_a_pair_that_is_there_goes_before_the_built_in_one(glimp: Glimp, models_toml: Path) -> None:
    models_toml.write_text(pair("mine", glimp.tiny / "small.gguf", glimp.tiny / "large.gguf"))
    assert default_pair(load_catalogue()) == "mine"
    result = glimp("solve", "--text", QUESTION, "--json", "--temperature", "0")
    assert msgspec.json.decode(result.out)["pair"] == "mine"


def test_what_models_toml_calls_the_default_is_the_default(glimp: Glimp, models_toml: Path) -> None:
    models_toml.write_text('default = "builtin"\n' + pair("mine", glimp.tiny / "small.gguf", glimp.tiny / "large.gguf"))
    assert default_pair(load_catalogue()) == "builtin"


def test_a_pair_whose_file_is_missing_or_damaged_is_not_chosen(tiny: Path, models_toml: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes((tiny / "large.gguf").read_bytes()[:3000])
    models_toml.write_text(
        pair("cut", tiny / "small.gguf", cut) + pair("away", tiny / "small.gguf", tmp_path / "nowhere.gguf")
    )
    assert default_pair(load_catalogue()) == "builtin"


def test_of_several_pairs_the_largest_that_fits_is_chosen(
    tiny: Path, models_toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = write_story(tmp_path / "huge.gguf", LARGE, vocabulary=Vocabulary(extra=2000))
    models_toml.write_text(
        pair("tiny", tiny / "small.gguf", tiny / "large.gguf") + pair("huge", tiny / "small.gguf", huge)
    )
    room(monkeypatch, 4 * GIB)
    assert default_pair(load_catalogue()) == "huge"
    room(monkeypatch, 20e6)
    assert default_pair(load_catalogue()) == "tiny"
    # Nothing fits whole, but all can be read from the disk again and again: the one that needs it least.
    room(monkeypatch, 9e6)
    assert default_pair(load_catalogue()) == "tiny"


def test_a_pair_that_can_be_asked_nothing_is_not_chosen(tiny: Path, models_toml: Path, tmp_path: Path) -> None:
    models_toml.write_text(pair("mute", tiny / "no-template.gguf", tiny / "large.gguf"))
    assert default_pair(load_catalogue()) == "builtin"
    (tmp_path / "mine.jinja").write_text("{{ messages[0].content }}")
    with_one = f'chat_template = "{tmp_path / "mine.jinja"}"'
    models_toml.write_text(pair("told", tiny / "no-template.gguf", tiny / "large.gguf", more=with_one))
    assert default_pair(load_catalogue()) == "told"


def test_models_the_wrong_way_round_are_noticed(tiny: Path, tmp_path: Path) -> None:
    huge = write_story(tmp_path / "huge.gguf", LARGE, vocabulary=Vocabulary(extra=2000))
    with load_pair(small=huge, large=tiny / "large.gguf") as swapped:
        assert any("are they the wrong way round?" in notice for notice in swapped.notices)
    with load_pair(small=tiny / "small.gguf", large=huge) as right:
        assert not any("wrong way round" in notice for notice in right.notices)


def test_a_pair_that_does_not_fit_is_named(tiny: Path, models_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_none(load_catalogue()) == "no other one is on this machine"
    models_toml.write_text(pair("mine", tiny / "small.gguf", tiny / "large.gguf"))
    room(monkeypatch, 1e6)
    assert default_pair(load_catalogue()) == "builtin"
    assert why_none(load_catalogue()).startswith("mine cannot be loaded into the memory that is free now (glimp plan")


def test_without_a_llama_cpp_a_pair_is_chosen_all_the_same(
    tiny: Path, models_toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Machine:
        raise BindingError("llama-cpp-python cannot be loaded")

    monkeypatch.setattr("glimp_local.machine.choice.survey", broken)
    models_toml.write_text(pair("mine", tiny / "small.gguf", tiny / "large.gguf"))
    assert default_pair(load_catalogue()) == "mine"


def test_a_cache_that_cannot_be_rounded_is_not_rounded_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its header lets a cache of whole blocks be kept as q8_0; llama.cpp says no for another reason.
    wide = write_attention(tmp_path / "wide.gguf", context=16384, head=2048)
    monkeypatch.setattr("glimp_local.load_files.survey", lambda: Machine(int(240e6)))
    with load_pair(large=wide, policy="large") as rounded:
        assert rounded.plan is not None
        assert rounded.plan.is_rounded
    make = loading.make_context

    def refuse(model: Any, name: str, options: EngineOptions, **more: Any) -> Any:
        if options.cache_type == "q8_0":
            raise UsageError(f"{name} cannot keep its cache as q8_0")
        return make(model, name, options, **more)

    monkeypatch.setattr(loading, "make_context", refuse)
    with load_pair(large=wide, policy="large") as plain:
        assert plain.plan is not None
        assert not plain.plan.is_rounded
    with pytest.raises(UsageError):
        load_pair(large=wide, policy="large", engine_options={"large": {"cache_type": "q8_0"}})


def test_a_narrow_pair_is_never_the_best_one(tiny: Path, models_toml: Path) -> None:
    narrow = pair("narrow", tiny / "small.gguf", tiny / "large.gguf", more='only = "counting stories and small sums"')
    models_toml.write_text(narrow)
    assert default_pair(load_catalogue()) == "builtin"


@pytest.mark.parametrize(
    ("free", "gpus"),
    [(7, ()), (14, ()), (20, ()), (64, ()), (14, (7.5,)), (30, (46,))],
)
def test_the_smallest_pair_that_fits_well_is_offered(
    free: float, gpus: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    room(monkeypatch, free * GIB, *(size * GIB for size in gpus))
    found = offer(load_catalogue())
    assert found is not None
    assert found.name == "qwen3-0.6b-4b"
    assert found.command == "glimp models pull qwen3-0.6b-4b"
    assert str(found).endswith(f"GiB of memory): {found.command}")


QUICK_AND_SLOW = """
[pairs.slow]
small = {repo = "a/b", file = "Qwen3-0.6B-Q8_0.gguf", size_bytes = 1}
large = {repo = "a/b", file = "Qwen3-32B-Q4_K_M.gguf", size_bytes = 1}
"""


def test_a_pair_slower_than_a_person_reads_is_passed_over(models_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models_toml.write_text(QUICK_AND_SLOW)  # slow is by far the smallest, so its files say
    room(monkeypatch, 64 * GIB)
    assert (found := offer(load_catalogue())) is not None
    assert found.name == "qwen3-0.6b-4b"
    room(monkeypatch, 64 * GIB, 46 * GIB)
    assert (found := offer(load_catalogue())) is not None
    assert found.name == "slow"


@pytest.mark.parametrize(
    ("free", "gpus", "name"),
    [
        (7, (), "qwen3-0.6b-4b"),
        (14, (), "qwen3-0.6b-4b"),
        (20, (), "qwen3-1.7b-8b"),
        (14, (7.5,), "qwen3-0.6b-4b"),
        (30, (46,), "qwen3-4b-r1-32b"),
    ],
)
def test_the_largest_pair_that_fits_easily_is_for_somebody_whose_own_is_too_large(
    free: float, gpus: tuple[float, ...], name: str
) -> None:
    machine = Machine(int(free * GIB), tuple(Gpu(f"GPU{i}", int(size * GIB)) for i, size in enumerate(gpus)))
    found = larger_offer(load_catalogue(), machine)
    assert found is not None
    assert found.name == name


def test_a_default_of_models_toml_is_offered_before_others(
    tiny: Path, models_toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room(monkeypatch, 64 * GIB)
    models_toml.write_text('default = "qwen3-1.7b-8b"')
    assert str(offer(load_catalogue())).endswith("glimp models pull qwen3-1.7b-8b")
    mine = pair("tiny", tiny / "small.gguf", tiny / "large.gguf")
    other = write_story(models_toml.with_name("huge.gguf"), LARGE, vocabulary=Vocabulary(extra=2000))
    models_toml.write_text('default = "tiny"\n' + mine + pair("huge", tiny / "small.gguf", other))
    assert str(offer(load_catalogue())) == "tiny, which is on this machine: --pair tiny"
    room(monkeypatch, 12 * GIB)
    models_toml.write_text('default = "qwen3-4b-32b"')
    assert str(offer(load_catalogue())).endswith("glimp models pull qwen3-0.6b-4b")


def test_a_pair_that_is_there_is_offered_as_such(
    tiny: Path, models_toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room(monkeypatch, 7 * GIB)
    models_toml.write_text('default = "builtin"\n' + pair("mine", tiny / "small.gguf", tiny / "large.gguf"))
    assert str(offer(load_catalogue())) == "mine, which is on this machine: --pair mine"


def test_a_pair_on_servers_is_offered_and_served_but_never_taken_unasked(
    tiny: Path, models_toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room(monkeypatch, 7 * GIB)
    large = 'large = {url = "http://box:8000"}\n'
    gone = f"[pairs.gone]\nsmall = {{path = '{tiny / 'nowhere.gguf'}'}}\n{large}"
    wrong = f"[pairs.wrong]\nsmall = {{path = '{tiny / 'small.gguf'}'}}\nlarge = {{url = 'box'}}\n"
    models_toml.write_text(gone + wrong + f"[pairs.mine]\nsmall = {{path = '{tiny / 'small.gguf'}'}}\n{large}")
    catalogue = load_catalogue()
    assert default_pair(catalogue) == "builtin"
    assert pairs_here(catalogue) == ["builtin", "mine"]
    assert str(offer(catalogue)) == "mine, with a model on box:8000: --pair mine"
    models_toml.write_text(f"default = 'far'\n[pairs.far]\nsmall = {{url = 'https://a.example'}}\n{large}")
    catalogue = load_catalogue()
    assert default_pair(catalogue) == "far"
    assert str(offer(catalogue)) == "far, with a model on a.example:443 and box:8000: --pair far"


def test_a_packaged_pair_whose_model_a_server_has_is_no_download(
    models_toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room(monkeypatch, 14 * GIB)
    models_toml.write_text('[pairs."qwen3-0.6b-4b".large]\nurl = "http://box:8000"\n')
    found = offer(load_catalogue())
    assert found is not None
    assert found.name != "qwen3-0.6b-4b"


def test_nothing_is_offered_where_nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 2 * GIB)
    assert offer(load_catalogue()) is None


def test_an_offer_says_what_it_takes() -> None:
    said = str(Offer("qwen3-0.6b-4b", 3_136_726_944, 7 * GIB))
    assert said == "qwen3-0.6b-4b (3.1 GB to download, 7.00 GiB of memory): glimp models pull qwen3-0.6b-4b"


def test_the_first_run_of_a_day_says_what_it_uses_and_what_another_pair_takes(
    glimp: Glimp, monkeypatch: pytest.MonkeyPatch
) -> None:
    room(monkeypatch, 14 * GIB)
    story = load_catalogue().pair("builtin").example
    assert glimp("solve", "--text", story, "--quiet").err == ""
    assert "the pair 'builtin' answers" not in glimp("solve", "--text", story, "--pair", "builtin").err
    first, second = (glimp("solve", "--text", story, "--json").err.splitlines() for _ in range(2))
    (said,) = (line for line in first if "the pair 'builtin' answers" in line)
    assert said.startswith("glimp: the pair 'builtin' answers: no other one is on this machine. One that reasons about")
    assert said.endswith("GiB of memory): glimp models pull qwen3-0.6b-4b")
    assert not any("the pair 'builtin' answers" in line or "glimp models pull" in line for line in second)


def test_a_pair_that_cannot_be_loaded_is_named_each_time(
    glimp: Glimp, models_toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models_toml.write_text(pair("mine", glimp.tiny / "small.gguf", glimp.tiny / "large.gguf"))
    room(monkeypatch, 1e6)
    story = load_catalogue().pair("builtin").example
    for _ in range(2):
        said = glimp("solve", "--text", story).err
        assert "the pair 'builtin' answers: mine cannot be loaded into the memory that is free now" in said


@pytest.mark.slow
def test_a_question_of_another_kind_says_so_and_what_another_pair_takes(glimp: Glimp) -> None:
    result = glimp("solve", "--text", "Who are you?")
    assert "this question is not for the pair 'builtin'" in result.err
    assert result.err.count("GiB of memory): glimp models pull qwen3-") == 1


def test_nothing_is_known_of_a_file_that_is_neither_there_nor_in_the_catalogue() -> None:
    source = ModelSource(repo="maker/model-GGUF", file="model.gguf")
    assert header_of(source) is None
    assert plan_of(PairConfig(small=source, large=source), Machine(GIB)) is None


WITH_LITTLE_MEMORY = """
import resource, sys
import psutil
import glimp_local.load_files  # what llama.cpp itself takes is not part of the limit
from glimp_local import load_pair
from glimp_local.errors import MemoryShortError
settings = {"policy": "large", **eval(sys.argv[3])}
limit = psutil.Process().memory_info().vms + int(sys.argv[2]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    with load_pair(large=sys.argv[1], **settings) as pair:
        print(pair.backends["large"].context)
        print(*pair.notices)
except MemoryShortError as error:
    print(error, error.hint, sep="\\n")
"""


WITHOUT_MEMORY_FOR_WEIGHTS = """
import pathlib, resource, sys, threading
import psutil
from glimp_local.settings import EngineOptions
from glimp_local.engines.llama.loading import load_model
from glimp_local.errors import MemoryShortError
limit = psutil.Process().memory_info().vms + 15 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    load_model(pathlib.Path(sys.argv[1]), EngineOptions(load_mode="read"), threading.Event(), None)
except MemoryShortError as error:
    print(error, error.hint, error.of, sep="\\n")
"""


def with_little_memory(path: Path, mebibytes: int, **settings: object) -> list[str]:
    command = [sys.executable, "-c", WITH_LITTLE_MEMORY, str(path), str(mebibytes), repr(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's memory as Linux does")
def test_a_pair_for_which_memory_is_short_all_the_same_is_loaded_with_less(tmp_path: Path) -> None:
    wide = write_attention(tmp_path / "wide.gguf", context=16384, head=2048)  # 16 kB a token
    assert with_little_memory(wide, 1000) == ["16384", ""]
    # The first thing to be made smaller is the cache's number type.
    assert with_little_memory(wide, 330)[0] == "16384"
    context, notice = with_little_memory(wide, 200)
    assert 4096 <= int(context) < 16384
    assert notice.startswith("no context of ")
    assert f"So it was loaded with less: on the CPU, context {int(context):,} (q8_0 cache); " in notice
    # What was asked for is not made smaller.
    error, hint = with_little_memory(wide, 155, context=16384)
    assert error.startswith("no context of 16,384 tokens for wide: ")
    assert "--ctx" in hint


def test_no_memory_for_the_weights_is_said_as_such(tmp_path: Path) -> None:
    wide = write_attention(tmp_path / "wide.gguf", head=8192)  # 25 MB
    command = [sys.executable, "-c", WITHOUT_MEMORY_FOR_WEIGHTS, str(wide)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "no memory for the weights of wide.gguf: " in done.stdout, done.stderr
    assert "glimp plan says what fits" in done.stdout
