"""The rates of this machine: measured in a process of its own, once, and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from glimp_local import apart
from glimp_local.engines.llama import proof, rating
from glimp_local.engines.llama.rates import HELD_SIZES, SIZES, Rate, Rates, Request
from glimp_local.errors import GlimpError
from glimp_local.paths import data_folder
from tests.support.rated import RATE

MEASURE = Rates._measure


def ends_with(monkeypatch: pytest.MonkeyPatch, ending: apart.Ending) -> None:
    monkeypatch.setattr(Rates, "_measure", MEASURE)
    monkeypatch.setattr(apart, "run", lambda *_, **__: ending)


def sound(rate: Rate) -> bool:
    seconds = (*rate.narrow_seconds.values(), *rate.wide_seconds.values())
    return list(rate.wide_seconds) == list(SIZES) and all(0 < each < 1e-6 for each in seconds)


@pytest.mark.slow
def test_a_number_type_is_measured_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rates, "_measure", MEASURE)
    monkeypatch.setattr(rating, "_LEAST_USED", 0.0)
    told: list[str] = []
    rates = Rates(on_measuring=lambda: told.append("measuring"))
    found = rates.of({"Q4_0", "I64"}, gpu=False, threads=1)
    if rates.failure is not None:  # in its own process, which may find the cores busy
        assert rates.failure == "other programs keep the cores busy"
        assert found == {}
        return
    assert found.keys() == {"Q4_0"}, "nobody has weights of whole numbers"
    assert sound(found["Q4_0"])
    assert list(found["Q4_0"].cell_seconds) == list(HELD_SIZES)
    monkeypatch.setattr(Rates, "_measure", lambda *_: pytest.fail("it was measured again"))
    assert Rates().of({"Q4_0"}, gpu=False, threads=1) == found
    assert told == ["measuring"]


def test_it_is_measured_on_models_that_are_written_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rating, "_LEAST_USED", 0.0)
    monkeypatch.setattr(rating, "_BYTES", (1e6, 2e6))
    monkeypatch.setattr(rating, "WIDTHS", (256, 512))
    request = Request(("Q8_0", "Q6_K"), are_files=False, gpu=False, threads=1, extra_buffers=False, attention=True)
    rated = rating.measure(request, "Q6_K", tmp_path, attention=True)
    assert rated.name == "Q6_K"
    assert sound(rated.rate)
    assert rating.measure(request, "Q8_0", tmp_path, attention=False).rate.cell_seconds == {}
    assert not list(tmp_path.glob("*.gguf")), "they are gone"


def test_a_tiny_model_is_measured_itself(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rating, "_LEAST_USED", 0.0)
    request = Request((str(small),), are_files=True, gpu=False, threads=1, extra_buffers=False, attention=True)
    rate = rating.measure_file(request, small).rate
    assert sound(rate) or max(rate.wide_seconds.values()) < 1e-3, "seconds for a byte of next to none"
    assert rate.wide_seconds == rate.narrow_seconds


def test_on_busy_cores_nothing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rating, "process_time", lambda: 0.0)  # others have all of the time
    request = Request(("Q8_0",), are_files=False, gpu=False, threads=1, extra_buffers=False, attention=True)
    with pytest.raises(GlimpError, match="keep the cores busy"):
        rating.measure(request, "Q8_0", tmp_path, attention=True)


@pytest.mark.parametrize(
    ("ending", "failure"),
    [
        (apart.Ending(b"", "ended by SIGILL", "", crashed=True, timed_out=False), "ended by SIGILL"),
        (apart.Ending(b"nonsense\n{}\n", "ended", "the cores are busy", False, False), "the cores are busy"),
    ],
)
def test_where_measuring_fails_it_is_said_why_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, ending: apart.Ending, failure: str
) -> None:
    ends_with(monkeypatch, ending)
    rates = Rates()
    assert rates.of({"Q4_0"}, gpu=False, threads=1) == {}
    assert rates.failure == failure
    monkeypatch.setattr(Rates, "_measure", lambda *_: pytest.fail("it was tried again"))
    assert rates.of({"Q5_K"}, gpu=False, threads=1) == {}


def test_a_damaged_file_of_rates_is_as_good_as_none() -> None:
    (data_folder() / "rates.json").write_text("{")
    assert Rates().of({"Q4_0"}, gpu=False, threads=1) == {"Q4_0": RATE}
    assert proof.machine_key() in (data_folder() / "rates.json").read_text()


def test_another_number_of_threads_is_measured_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def measured(_: Rates, request: Request) -> dict[str, Rate]:
        asked.append(request.threads)
        return dict.fromkeys(request.names, RATE)

    monkeypatch.setattr(Rates, "_measure", measured)
    for threads in (1, 2, 1):
        Rates().of({"Q4_0"}, gpu=False, threads=threads)
    assert asked == [1, 2]
