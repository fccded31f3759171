"""`glimp trace`: what is said of a run, and another threshold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimp_local.events import encode
from glimp_local.records import trace
from glimp_local.records.runs import read_runs
from glimp_local.routing import Glimpse, Threshold
from glimp_local.text import harmless
from tests.support.tracing import (
    CONTENT,
    HOSTILE,
    NATS,
    RECORDED,
    SOLUTION,
    THRESHOLDS,
    changed,
    glimp,
    objects,
    shown,
    step,
)

# What is shown.


def test_a_row_a_step_with_the_figures_of_the_run() -> None:
    lines = shown(RECORDED)
    assert lines[1] == "builtin · threshold · seed 1 · done"
    rows = {int(line.split()[0]): line for line in lines if re.match(r" *\d+ [SL] ", line)}
    assert len(rows) == len(SOLUTION.steps)
    assert re.fullmatch(r"  0 S  0\.00 <= 0\.30 confident +4 +3 ms +Count: marbles\.", rows[0])
    assert re.fullmatch(r" 15 L  0\.50 >  0\.30 uncertain +2 +\d+ ms +132 in \d+ ms  177\.", rows[15])
    assert lines.index("thought") < lines.index(rows[0]) < lines.index(rows[29]) < lines.index("answer")
    assert lines[-1].startswith("30 steps, 10% large · 261 tokens, 7% large · small 5,701 tokens/s · large 511 tok")
    assert "catch-up 46% of it (247 tokens)" in lines[-1]


def test_full_shows_the_whole_text_of_each_step() -> None:
    out = "\n".join(shown(RECORDED, "--full"))
    assert "\n  > Ben gives Emma a third of his marbles. Then Ben buys 5\n" in out


def test_the_figures_are_those_the_session_gave() -> None:
    (run,) = read_runs(CONTENT, "x").runs
    found = trace.figures(run)
    assert run.stats is not None
    for name in ("steps", "steps_large", "share_steps", "tokens", "tokens_large", "share_tokens", "seconds"):
        assert getattr(found, name) == getattr(run.stats, name)
    assert run.stats.small is not None
    assert run.stats.large is not None
    assert found.catch_up_tokens == run.stats.small.catch_up_tokens + run.stats.large.catch_up_tokens


def test_what_a_model_writes_does_not_steer_the_terminal() -> None:
    content = encode(changed((step(text=f"\n{HOSTILE}\n\n"),)))
    for more in ([], ["--full"]):
        out = glimp("-", *more, stdin=content).stdout
        assert not set("\x1b\x07\x9b\u202e\u2066") & set(out)
        assert harmless(HOSTILE) in out


@pytest.mark.screen
@pytest.mark.parametrize("width", [20, 50, 80, 120])
@pytest.mark.parametrize("more", [[], ["--full"]])
def test_no_line_is_wider_than_the_terminal(width: int, more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("termios")
    from benchmarks.terminal import Terminal  # noqa: PLC0415 - only where there are pseudo-terminals

    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    command = [sys.executable, "-m", "glimp_local", "trace", str(RECORDED), "--what-if", "1", *more]
    for colours in (True, False):
        terminal = Terminal(command, columns=width, env={} if colours else {"NO_COLOR": "1"})
        assert terminal.end() == 0
        terminal.close()
        lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.drawn.decode()).splitlines()
        assert max(map(len, lines)) <= width
        assert (re.search(rb"\x1b\[[0-9;]*38;", terminal.drawn) is not None) == colours
        assert any("L→S" in line for line in lines)
        assert any("146 + 31." in line for line in lines) == (width >= 50 or bool(more))


@given(NATS, NATS)
def test_why_never_contradicts_itself(entropy: float, threshold: float) -> None:
    routed = Threshold(threshold).decide(Glimpse(entropy, 1, 1))
    said = trace.why(step(entropy_nats=entropy, threshold_nats=threshold, reason=routed.reason))
    reason, first, sign, second = said.replace(":", "").split()
    assert (reason, sign) in {("confident", "<="), ("uncertain", ">")}
    if abs(entropy - threshold) > 1e-9:
        assert (float(first) > float(second)) == (sign == ">")


def test_why_in_words() -> None:
    assert trace.why(step(entropy_nats=0.12)) == "confident: 0.12 <= 0.30"
    assert trace.why(step(reason="uncertain", entropy_nats=0.3004)) == "uncertain: 0.3004 > 0.3000"
    assert trace.why(step(reason="redo", threshold_nats=None)) == "redo: written again"


# Another threshold.


def test_the_run_s_own_threshold_changes_nothing() -> None:
    found = trace.what_if(SOLUTION.steps, 0.3)
    assert (found.moved, found.told, found.untold, found.fixed) == ((), 30, 0, 1)
    assert found.share_steps_was == found.share_steps_would_be == SOLUTION.stats.share_steps
    assert shown(RECORDED, "--what-if", "0.3")[-1] == (
        "what if: at 0.3 nats, none of the 30 steps with a glimpse would have gone to the other model"
    )


@given(st.lists(NATS), NATS)
def test_a_threshold_s_own_run_never_moves(entropies: list[float], threshold: float) -> None:
    policy, steps = Threshold(threshold), []
    for index, nats in enumerate(entropies):
        decision = policy.decide(Glimpse(nats, 1, 1))
        steps.append(step(index, model=decision.model, reason=decision.reason, entropy_nats=nats))
    assert trace.what_if(steps, threshold).moved == ()


@given(THRESHOLDS)
def test_a_what_if_counts_what_it_moves(threshold: float) -> None:
    found = trace.what_if(SOLUTION.steps, threshold)
    for each in SOLUTION.steps:
        if each.reason == "answer":
            assert each.index not in found.moved
        else:
            assert each.entropy_nats is not None
            assert (each.index in found.moved) == ((each.entropy_nats > threshold) != (each.model == "large"))
    assert len(found.moved) == found.to_small + found.to_large
    large = SOLUTION.stats.steps_large + found.to_large - found.to_small
    assert found.share_steps_would_be == pytest.approx(large / 30)


def test_a_what_if_marks_and_sums_up() -> None:
    lines = shown(RECORDED, "--what-if", "0.9")
    assert [line for line in lines if "→" in line] == [line for line in lines if re.match(r" (15|21) L→S", line)]
    of = "2 of the 30 steps with a glimpse"
    assert lines[-3:] == [
        f"what if: at 0.9 nats, {of} would have gone to the other model: 0 to the large one, 2 to the small one",
        "what if: steps on the large model: 10% as it was, 3% so",
        "what if: only the first of them, step 15, is certain: what follows would be another text",
    ]
    (found,) = objects(RECORDED, "--what-if", "0.9")
    assert found["what_if"]["moved"] == [15, 21]
    assert objects(RECORDED)[0]["what_if"] is None


@pytest.mark.parametrize("reason", ["user", "redo", "loop", "answer"])
def test_what_no_policy_decided_stays(reason: str) -> None:
    found = trace.what_if([step(reason=reason, entropy_nats=9.0)], 0.1)
    assert (found.moved, found.told, found.fixed) == ((), 0, 1)
    assert trace.in_words(found) == ["there is no step that a policy decided, so no threshold can be held against it"]


def test_the_steps_of_a_random_run_and_of_the_small_model_alone_are_decided_anew() -> None:
    steps = [
        step(0, reason="random", threshold_nats=None, model="large", entropy_nats=0.0),
        step(1, reason="random", threshold_nats=None, entropy_nats=None),
        step(2, reason="policy", threshold_nats=None, entropy_nats=2.0),
    ]
    found = trace.what_if(steps, 1.0)
    assert (found.moved, found.to_small, found.to_large, found.untold) == ((0, 2), 1, 1, 1)
    assert trace.in_words(found)[-1] == "1 step without a glimpse cannot be told"


def test_a_run_of_the_large_model_alone_cannot_be_told() -> None:
    steps = tuple(
        msgspec.structs.replace(each, reason="policy", model="large", entropy_nats=None, threshold_nats=None)
        for each in SOLUTION.steps
    )
    lines = shown("-", "--what-if", "1", stdin=encode(changed(steps, policy="large")))
    assert lines[-1] == ("what if: the small model did not look at any step, so no threshold can be held against it")


# Help and start.


def test_help_gives_examples_fields_and_exit_codes() -> None:
    out = glimp("--help").stdout
    for text in ("Examples:", "Exit codes:", "--what-if NATS", "--html PAGE"):
        assert text in out
    for struct in (trace.Figures, trace.WhatIf):
        for name in struct.__struct_fields__:
            assert re.search(rf"\b{name}\b", out), name
    for name in objects(RECORDED)[0]:
        assert re.search(rf"\b{name}\b", out), name


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], ("llama_cpp", "numpy", "rich", "jinja2", "msgspec", "huggingface_hub")),
        ([str(RECORDED)], ("llama_cpp", "jinja2", "textual", "huggingface_hub")),
        ([str(RECORDED), "--html", "page.html"], ("llama_cpp", "textual", "huggingface_hub")),
    ],
)
def test_it_starts_without_what_it_does_not_need(tmp_path: Path, arguments: list[str], absent: tuple[str, ...]) -> None:
    code = (
        "import sys; sys.argv = ['glimp', 'trace', *%r]\n"
        "try:\n    from glimp_local.cli import main; main()\nexcept SystemExit: pass\n"
        "print([m for m in %r if m in sys.modules])"
    )
    command = [sys.executable, "-c", code % (arguments, absent)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
