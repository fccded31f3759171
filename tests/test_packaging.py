"""The wheel and the documents: what they promise is there, and what is there is described."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import get_args

import msgspec

import glimp_local
from glimp_local.bench.calibration import Cut
from glimp_local.bench.figures import AgreementFigures, ArmFigures, Difference, Figures, Seconds
from glimp_local.bench.runs import Header, Look, Looks, Run
from glimp_local.bench.statistics import Estimate
from glimp_local.cli.run_calibrate import Calibration
from glimp_local.cli.run_config import Shown
from glimp_local.cli.run_models import Pull, Removal, Verification
from glimp_local.cli.run_plan import PlanReport
from glimp_local.cli.run_tune import PairTuning
from glimp_local.events import (
    Answer,
    Finished,
    FinishReason,
    ModelStats,
    Notice,
    Part,
    Rewound,
    Selected,
    Solution,
    Started,
    Stats,
    Step,
    StepEnd,
    StepEnded,
    StepStarted,
    TakenBack,
    Text,
    ThoughtEnd,
    ThoughtEnded,
)
from glimp_local.hardware import Cpus, Device, Gpu, Gpus, Memory
from glimp_local.machine import plan
from glimp_local.machine.doctor.finding import Finding
from glimp_local.machine.doctor.probe import Build, Objection, Probe, Proof
from glimp_local.machine.doctor.report import Examination, Terminal
from glimp_local.machine.doctor.storage import Folder, PairState
from glimp_local.machine.inventory import FileEntry, Inventory, PairEntry
from glimp_local.machine.locations import Places
from glimp_local.machine.server_pairs import ServerComparison
from glimp_local.machine.servers import PairServers, ServerState
from glimp_local.machine.speed import ModelSpeed, PairSpeed
from glimp_local.machine.tuning import Speed, Tuning
from glimp_local.models.compare import Comparison
from glimp_local.models.files import pull_command
from glimp_local.models.hub.fetch import Pulled
from glimp_local.models.hub.verify import Verified
from glimp_local.models.info import MemoryAt, ModelInfo, TemplateInfo, TypeShare, VocabularyInfo
from glimp_local.models.origins import Setting
from glimp_local.records import trace
from glimp_local.routing import PolicyName, Reason
from glimp_local.settings import EngineOptions, ModelSource, PairConfig, SamplingSettings

ROOT = Path(__file__).parents[1]


def test_the_wheel_carries_the_catalogue_and_the_types(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert archive.read("glimp_local/models.toml") == (ROOT / "models.toml").read_bytes()
    assert {"glimp_local/py.typed", "glimp_local/records/trace.html.j2"} < set(names)
    page = {f"glimp_local/server/page/{path.name}" for path in (ROOT / "glimp_local" / "server" / "page").iterdir()}
    assert "glimp_local/server/page/index.html" in page
    assert page <= set(names)
    assert {f"glimp_local/builtin/{name}" for name in ("small.gguf", "large.gguf", "README.md")} < set(names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "training/"))]
    assert f"glimp_local-{glimp_local.__version__}" in wheel.name


def test_the_public_names_are_there() -> None:
    for name in glimp_local.__all__:
        assert getattr(glimp_local, name)
    assert not hasattr(glimp_local, "nothing_like_it")


def test_every_field_of_the_public_json_is_documented() -> None:
    text = (ROOT / "docs" / "json.md").read_text()
    of_versions = (Rewound, TakenBack, Selected)
    events_ = (Started, StepStarted, Text, StepEnded, ThoughtEnded, *of_versions, Notice, Answer, Finished)
    of_a_bench = (Header, Run, Looks, Look, Figures, ArmFigures, AgreementFigures, Difference, Seconds, Estimate)
    others = (Calibration, Cut, trace.Figures, trace.WhatIf, PairTuning, Tuning, Speed)
    of_headers = (Comparison, MemoryAt, ModelInfo, TemplateInfo, TypeShare, VocabularyInfo)
    of_files = (Inventory, PairEntry, FileEntry, Pull, Pulled, Verification, Verified, Removal)
    of_a_plan = (PlanReport, plan.Plan, plan.ModelPlan, plan.Part, plan.Room, PairSpeed, ModelSpeed)
    of_the_doctor = (Examination, Finding, Folder, PairState, Terminal, Cpus, Memory, Gpus, Gpu)
    of_the_probe = (Probe, Build, Device, Proof, Objection)
    of_the_configuration = (Shown, Setting, Places)
    of_a_run = (Solution, Step, Stats, ModelStats, *events_)
    of_servers = (PairServers, ServerComparison, ServerState)
    of_models = (*of_headers, *of_files, *of_a_plan, *of_servers)
    of_a_machine = (*of_the_doctor, *of_the_probe, *of_the_configuration)
    for struct in (*of_a_run, *of_a_bench, *others, *of_models, *of_a_machine):
        for field in struct.__struct_fields__:
            assert f"`{field}`" in text, f"{struct.__name__}.{field}"
    for event in events_:
        assert f"`{event.__struct_config__.tag}`" in text
    for words in (FinishReason, ThoughtEnd, StepEnd, Reason, Part, PolicyName):
        for word in get_args(words):
            assert f"`{word}`" in text, word


def test_every_key_of_models_toml_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for table in (PairConfig, ModelSource, EngineOptions, SamplingSettings):
        for key in table.__struct_fields__:
            assert (
                f"{key} =" in text
                or f"[pairs.mine.{key}" in text
                or f".{key}]" in text
                or f"{key}," in text
                or f"{key})" in text
            ), key
    (example,) = [block for block in text.split("```toml\n")[1:] if block.startswith("default")]
    pairs = tomllib.loads(example.split("```")[0])["pairs"]
    assert msgspec.convert(pairs["mine"], PairConfig).policy == "share"


def test_the_readme_s_figures_of_the_built_in_pair_are_those_of_its_report() -> None:
    report = (ROOT / "docs" / "bench-builtin" / "report.md").read_text().splitlines()
    text = (ROOT / "README.md").read_text()
    command = next(line.strip() for line in report if line.startswith("    glimp bench"))
    assert f"`{command}`" in text
    columns = next(line for line in report if line.startswith("| policy | correct |"))
    rows = text.split(columns)[1].split("\n\n")[0].strip().splitlines()[1:]
    assert len(rows) == 4  # both models, routed, and by chance
    for row in rows:
        assert row in report


def test_the_readme_s_python_runs_as_it_stands() -> None:
    text = (ROOT / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[small: " in done.stdout
    assert "\\boxed{41}" in done.stdout


def test_the_readme_downloads_a_real_pair() -> None:
    assert pull_command("qwen3-0.6b-4b") in (ROOT / "README.md").read_text()
