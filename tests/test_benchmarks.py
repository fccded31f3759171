"""The benchmarks: what stands in the document, and that every section runs; no figure is looked at."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as main_module
from benchmarks import (
    busy,
    catalogue,
    conversations,
    costs,
    document,
    drafting,
    end_to_end,
    floor,
    forecast,
    long_session,
    memory,
    pace,
    planned,
    serve_cost,
)
from benchmarks.__main__ import SECTIONS, main
from benchmarks.llama_cpp import find, result
from benchmarks.setup import BUILTIN, MissingError, Setup
from glimp_local.machine import tuning

RECORDED = b"""[
  {
    "build_commit": "0c1e570",
    "backends": "CPU",
    "model_type": "llama 256M Q4_1",
    "n_threads": 2,
    "type_k": "f16",
    "flash_attn": -1,
    "n_prompt": 0,
    "n_gen": 16,
    "n_depth": 64,
    "avg_ts": 121.083665,
    "samples_ns": [ 132140037, 128000000, 140000000 ],
    "samples_ts": [ 121.084, 125.0, 114.286 ]
  }
]
"""
DOCUMENT = "# Benchmarks\n\nWords.\n\n## One\n\n1\n\n### Below\n\nmore\n\n## Two\n\n2\n"


@pytest.fixture
def llama_bench(tmp_path: Path) -> Path:
    """Write a program that stands in for llama-bench, which takes minutes to build: it keeps what it was asked."""
    (tmp_path / "recorded.json").write_bytes(RECORDED)
    program = tmp_path / "llama-bench"
    program.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\ncat "{tmp_path}/recorded.json"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def setup(small: Path | None = None, large: Path | None = None, **others: Any) -> Setup:
    return Setup(small, large, **{"rounds": 1, "tokens": 12, "limit": 2, "solves": 2, **others})


def test_a_section_takes_the_place_of_the_one_with_its_heading() -> None:
    drawn = document.section("One", ["one"], ["new"], "A machine.")
    assert document.replaced(DOCUMENT, drawn) == (
        "# Benchmarks\n\nWords.\n\n## One\n\n    python -m benchmarks one\n\nA machine.\n\nnew\n\n## Two\n\n2\n"
    )


def test_a_new_section_comes_last() -> None:
    replaced = document.replaced(DOCUMENT, "## Three\n\n3\n")
    assert replaced == DOCUMENT + "\n## Three\n\n3\n"


def test_the_first_section_brings_the_title() -> None:
    replaced = document.replaced("", "## One\n\n1\n")
    assert replaced.startswith("# Benchmarks\n\n")
    assert document.replaced(replaced, "## One\n\n2\n") == replaced.replace("\n1\n", "\n2\n")


def test_the_one_test_of_llama_bench_is_read() -> None:
    assert (result(RECORDED).backends, result(RECORDED).samples_ts) == ("CPU", [121.084, 125.0, 114.286])


@pytest.mark.parametrize("output", [b"[]", RECORDED.replace(b"[ 121.084, 125.0, 114.286 ]", b"[]")])
def test_no_rate_is_made_up_where_llama_bench_tells_none(output: bytes) -> None:
    with pytest.raises(ValueError, match="not one"):
        result(output)


def test_a_llama_bench_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        find(tmp_path / "llama-bench")


def test_pace_asks_llama_bench_for_the_same_depth_and_settings(tiny: Path, llama_bench: Path) -> None:
    model = tiny / "rambling.gguf"
    blocks = pace.measure(setup(model, model, llama_bench=llama_bench, gpu_layers=0))
    asked = (llama_bench.parent / "asked").read_text().splitlines()
    settings = "-t 1 -fa off -ngl 0 -ctk f16 -ctv f16 -r 1 -o json"
    prompts = {line.split()[3] for line in asked if " -n 0 " in line}
    depths = {line.split()[7] for line in asked if " -d " in line}
    assert len(prompts) == 1
    assert prompts == depths
    assert f"-m {model} -p {min(prompts)} -n 0 -b 128 -ub 128 {settings}" in asked
    assert all(line.endswith(settings) for line in asked)
    assert "| session, passes: " in blocks[0]
    assert "µs at" in blocks[-1]


@pytest.mark.slow
def test_busy_measures_every_party_beside_every_neighbour(
    tiny: Path, llama_bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busy, "_SECONDS", 0.02)
    monkeypatch.setattr(busy, "_SETTLING_SECONDS", 0.0)
    monkeypatch.setattr(busy, "_STARTING_SECONDS", 0.1)
    chosen = setup(tiny / "small.gguf", tiny / "other-vocabulary.gguf", llama_bench=llama_bench)
    rows = [line.strip("| ").split(" | ") for line in busy.measure(chosen)[0].splitlines()[2:]]
    neighbours = ["idle", "1 busy process", "2 busy processes", "another llama.cpp"]
    assert [row[:3] for row in rows] == [
        [model, neighbour, phase]
        for model in ("small", "other-vocabulary")
        for neighbour in neighbours
        for phase in ("prefill", "decode")
    ]
    assert all(float(row[3].replace(",", "")) > 0 for row in rows)
    assert {row[5] for row in rows} == {"121"}


def test_the_floor_of_the_built_in_pair_is_measured_where_no_other_is_there() -> None:
    blocks = floor.measure(setup())
    assert blocks[1].startswith("**built-in pair**: floor over wall time ")
    assert [line.split(" | ")[0] for line in blocks[2].splitlines()[2:]] == [
        "| prompt",
        "| catch-up",
        "| own tokens",
        "| sampling",
        "| glimpses",
        "| rest",
        "| wall time",
    ]
    assert "two vocabularies: its files are not there" in blocks[3]


@pytest.mark.slow
def test_drafting_is_measured_by_the_number_of_tokens(tiny: Path) -> None:
    chosen = setup(shared_small=tiny / "small.gguf", shared_large=tiny / "large.gguf")
    rows = [line.strip("| ").split(" | ") for line in drafting.measure(chosen)[0].splitlines()[2:]]
    assert [row[1] for row in rows] == ["off", "1", "2", "3", "4", "7", "8", "15", "auto"] * 2
    assert [row[0] for row in rows[::9]] == ["built-in pair", "small + large"]
    assert [row[4] == "0 a run" for row in rows[:2]] == [True, False]


@pytest.mark.slow
def test_whole_problems_are_solved_and_graded(tiny: Path, tmp_path: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text('{"problem": "How many?", "answer": "1"}\n')
    chosen = setup(tiny / "small.gguf", tiny / "other-vocabulary.gguf", problems=problems)
    rows = [line.strip("| ").split(" | ") for line in end_to_end.measure(chosen)[0].splitlines()[2:]]
    assert [row[1] for row in rows] == [arm.name for arm in end_to_end.ARMS] * 2
    assert [" of 2 (" in row[2] for row in rows] == [True] * 5 + [False] * 5
    assert [row[5] for row in (rows[0], rows[5])] == ["100%", "100%"]


@pytest.mark.slow
def test_a_pair_without_problems_is_left_out_in_words(tiny: Path) -> None:
    blocks = end_to_end.measure(setup(tiny / "small.gguf", tiny / "large.gguf"))
    assert blocks[-1] == "Not measured on a pair of two vocabularies: it has no problems."


def test_memory_is_that_of_a_process_of_its_own() -> None:
    table, _, growth = memory.measure(setup())[:3]
    cells = [float(cell) for cell in table.splitlines()[2].strip(" |").split(" | ")[1:]]
    peak, files, caches, ratio = cells[:4]
    assert (files, caches) == (22.8, 23.0)
    assert peak > files + caches
    assert ratio == pytest.approx(peak / (files + caches), abs=0.05)
    assert growth.startswith("2 solves in one process (built-in pair): ")


def test_a_long_session_fills_its_context(tiny: Path, llama_bench: Path) -> None:
    models = [tiny / "rambling.gguf", tiny / "patient.gguf"]
    blocks = long_session.measure(setup(*models, llama_bench=llama_bench, tokens=24, session_tokens=4096))
    for model, about, table in zip(models, blocks[::2], blocks[1::2], strict=True):
        rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
        assert [row[0] for row in rows] == ["beginning", "end", "end to beginning"]
        assert int(rows[1][1].replace(",", "")) > 3000
        assert about.startswith(model.stem)
        assert "tokens of context" in about


def test_a_conversation_goes_on_behind_a_side_request_with_and_without_memory_for_it(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "_PARAGRAPHS", 3)
    about, asked, _, copied = conversations.measure(setup(tiny / "small.gguf", tiny / "other-vocabulary.gguf"))
    rows = [line.strip("| ").split(" | ") for line in asked.splitlines()[2:]]
    assert [row[0] for row in rows] == ["kept in memory", "not kept"]
    for kept, lost in zip(rows[0][2:], rows[1][2:], strict=True):
        assert float(kept.replace(",", "")) < 150 < float(lost.replace(",", ""))
    assert "1 rounds in turns" in about
    assert all(" MB/s" in line for line in copied.splitlines()[2:])


def test_a_section_without_its_models_says_so_and_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GLIMP_REAL_PAIR", raising=False)
    monkeypatch.setattr(document, "FILE", tmp_path / "benchmarks.md")
    sizes = ["--rounds", "1", "--tokens", "8", "--write"]
    alone = CliRunner().invoke(main, ["long-session", *sizes])
    assert alone.exit_code == 1
    assert "long-session: not measured. Not measured on a pair of two vocabularies" in alone.stderr
    assert not document.FILE.exists()
    both = CliRunner().invoke(main, ["long-session", "floor", *sizes])
    assert both.exit_code == 0
    assert "    python -m benchmarks floor --rounds 1 --tokens 8\n" in document.FILE.read_text()
    assert both.stdout.strip() in document.FILE.read_text()


@pytest.mark.slow
def test_the_plan_is_compared_with_what_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned, "_CACHES", ("f16",))
    table, farthest, _ = planned.measure(setup())
    assert [line.split(" | ")[1] for line in table.splitlines()[2:]] == ["256", "1,024", "2,048"] * 2
    assert farthest.startswith("Farthest from 1: ")


def test_every_pair_of_the_catalogue_is_planned_for_every_machine() -> None:
    table, _ = catalogue.measure(setup())
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert len({tuple(row[:3]) for row in rows}) == len(rows) == 6 * 3 * 4
    assert {row[3] for row in rows} == {"yes", "disk", "no"}


def test_what_batches_cost_is_measured_of_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_BATCH_ROUNDS", 1)
    (rows, about) = costs.measure(setup())
    assert [line.split(" | ")[0] for line in rows.splitlines()[2:]] == ["| small", "| large"]
    assert about.startswith("Milliseconds")


def test_the_forecast_is_compared_with_what_is_measured() -> None:
    (rows, about) = forecast.measure(setup())
    assert len(rows.splitlines()) == 4
    assert "Forecasts are " in about


@pytest.mark.process
@pytest.mark.slow
def test_the_server_is_compared_with_solve(tiny: Path) -> None:
    blocks = serve_cost.measure(setup(tiny / "patient.gguf", tiny / "rambling.gguf"))
    solve, serve, inside = [line.strip("| ").split(" | ") for line in blocks[0].splitlines()[2:]]
    assert all(float(row[1].replace(",", "")) > 0 for row in (solve, serve))
    assert 0 < float(inside[-1].split()[0]) < 1
    assert "in 1 of them both wrote the same number" in blocks[1]
    new, following = [line.strip("| ").split(" | ") for line in blocks[2].splitlines()[2:]]
    kept = [float(row[2].replace(",", "")) / float(row[1].replace(",", "")) for row in (new, following)]
    assert kept[0] < 0.2
    assert kept[1] > 0.8
    assert blocks[-1].startswith("Not measured beside llama-server")


def test_each_model_of_a_pair_may_have_layers_of_its_own() -> None:
    with setup(gpu_layers=0, gpu_layers_large=1).open(BUILTIN) as pair:
        layers = {model: pair.config.options(model).gpu_layers for model in pair.config.models}
    assert layers == {"small": 0, "large": 1}


def test_the_script_for_a_gpu_names_sections_and_options_that_there_are() -> None:
    script = (Path(main_module.__file__).parent / "gpu.sh").read_text(encoding="utf-8")
    asked = [line.split()[2:] for line in script.splitlines() if line.startswith("measure ")]
    known = {option for parameter in main.params for option in parameter.opts}
    assert len(asked) == 3
    for words in asked:
        options = [word for word in words if word.startswith("--")]
        assert set(options) <= known
        assert {word for word in words if not word.startswith("--") and not word.isdecimal()} <= set(SECTIONS)
