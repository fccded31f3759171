"""The page of `glimp trace --html`."""

from __future__ import annotations

import re
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from glimp_local.records import trace
from glimp_local.records.runs import read_runs
from glimp_local.records.trace_page import page
from glimp_local.runs import Run
from glimp_local.text import harmless
from tests.support.tracing import (
    BROWSER,
    CONTENT,
    HOSTILE,
    RECORDED,
    SOLUTION,
    bench,
    glimp,
    objects,
)


class Page(HTMLParser):
    """Collects what a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Page]:
    def make(file: Path = RECORDED, *flags: str) -> Page:
        path = tmp_path / "page.html"
        path.unlink(missing_ok=True)
        assert glimp(file, "--html", path, *flags).output == ""
        return Page(path.read_text(encoding="utf-8"))

    return make


def test_the_page_holds_the_run(made: Callable[..., Page]) -> None:
    found = made()
    steps = [each for each in found.all("details") if "step" in str(each["class"])]
    assert [each["class"] for each in steps] == [f"step {each.model}" for each in SOLUTION.steps]
    assert [each["data-index"] for each in steps if "open" in each] == ["30"]
    for each in SOLUTION.steps:
        assert each.text.strip("\n") in found.words
    bars = [each for each in found.all("rect") if "id" in each]
    assert len(bars) == len(SOLUTION.stats.entropies_nats)
    (plot,) = found.all("svg")
    assert plot["role"] == "img"
    assert {"title", "desc"} <= {tag for tag, _ in found.tags}


def test_the_page_needs_no_network_and_allows_none(made: Callable[..., Page]) -> None:
    found = made()
    (policy,) = (each["content"] for each in found.all("meta") if each.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in str(policy)
    for tag, attributes in found.tags:
        assert tag not in {"link", "img", "iframe", "base", "form"}
        assert not {name for name in attributes if name in {"src", "style", "action"} or name.startswith("on")}
        assert str(attributes.get("href", "#")).startswith("#")


def test_the_page_s_own_style_and_script_are_those_its_policy_names() -> None:
    text = page([(1, read_runs(CONTENT, "x").runs[0])], None)
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        named = b64encode(sha256(content.encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{named}&#39;" in text or f"{tag}-src 'sha256-{named}'" in text


def test_what_models_write_is_inert_on_the_page(made: Callable[..., Page]) -> None:
    (run,) = read_runs(CONTENT, "x").runs
    plain = [tag for tag, _ in made().tags]
    assert run.stats is not None
    assert run.stats.small is not None
    small = msgspec.structs.replace(run.stats.small, name=HOSTILE)
    steps = [msgspec.structs.replace(each, text=HOSTILE) for each in run.steps]
    stats = msgspec.structs.replace(run.stats, small=small)
    question = HOSTILE * 3  # too long for the heading alone, like the recorded one
    hostile = Run(
        question, HOSTILE, "threshold", 1, steps=steps, finish="done", stats=stats, problem=HOSTILE, arm=HOSTILE
    )
    text = page([(1, hostile)], None)
    found = Page(text)
    assert [tag for tag, _ in found.tags] == plain
    assert found.words.count(harmless(HOSTILE)) > 2 * len(steps)
    assert not set("\x1b\x07\x9b\u202e\u2066") & set(text)


def test_a_what_if_is_on_the_page_before_any_script_runs(made: Callable[..., Page]) -> None:
    found = made(RECORDED, "--what-if", "0.9")
    assert "2 of the 30 steps with a glimpse would have gone to the other model" in " ".join(found.words.split())
    assert [each["value"] for each in found.all("input")] == ["0.9"]
    marks = [each for each in found.all("span") if each.get("class") == "elsewhere"]
    assert [number for number, each in enumerate(marks) if "hidden" not in each] == [15, 21]
    unasked = made()
    assert [each["value"] for each in unasked.all("input")] == ["0.3"]
    assert all("hidden" in each for each in unasked.all("span") if each.get("class") == "elsewhere")


def test_every_run_has_its_section(tmp_path: Path, made: Callable[..., Page]) -> None:
    found = made(bench(tmp_path, SOLUTION, SOLUTION))
    assert [each["id"] for each in found.all("section")] == ["run-1", "run-2"]
    assert {"#run-1", "#run-2"} == {each["href"] for each in found.all("a")}
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [each["id"] for each in made(bench(tmp_path, SOLUTION, SOLUTION), "--run", "2").all("section")] == ["run-2"]


def test_a_run_without_a_step_has_a_page(tmp_path: Path, made: Callable[..., Page]) -> None:
    path = tmp_path / "begun.jsonl"
    path.write_bytes(CONTENT.splitlines(keepends=True)[0])
    assert "cut short" in made(path).words


def test_no_page_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("mine")
    result = glimp(RECORDED, "--html", path, code=2)
    assert f"--html {path}: it exists\nhint: choose another name, or remove it first" in result.stderr
    assert path.read_text() == "mine"


def test_a_page_and_json_may_be_had_at_once(tmp_path: Path) -> None:
    assert len(objects(RECORDED, "--html", tmp_path / "page.html")) == 1
    assert (tmp_path / "page.html").exists()


@pytest.mark.skipif(BROWSER is None, reason="needs a browser to run the page's script")
def test_the_slider_counts_as_the_command_does(tmp_path: Path) -> None:
    assert BROWSER is not None
    text = page([(1, read_runs(CONTENT, "x").runs[0])], None)
    # Without its policy, so that somebody can move the slider.
    text = re.sub(r"<meta http-equiv.*?>", "", text, count=1)
    move = "slider.value = 0.01; slider.dispatchEvent(new Event('input'));"
    path = tmp_path / "page.html"
    path.write_text(text.replace("</body>", f"<script>{move}</script></body>"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'browser'}"]
    done = subprocess.run([BROWSER, *flags, "--dump-dom", path.as_uri()], capture_output=True, timeout=60, check=True)
    found, counted = Page(done.stdout.decode()), trace.what_if(SOLUTION.steps, 0.01)
    said = " ".join(found.words.split())
    glimpses = sum(step.entropy_nats is not None for step in SOLUTION.steps)
    assert f"{len(counted.moved)} of the {glimpses} steps with a glimpse would have gone to the other model" in said
    assert f"{counted.to_large} to the large one, 0 to the small one" in said
    assert f"{SOLUTION.stats.share_steps:.0%} as it was, {counted.share_steps_would_be:.0%} so" in said
    assert f"step {counted.moved[0]}, is certain" in said
    marks = [each for each in found.all("span") if each.get("class") == "elsewhere"]
    assert tuple(number for number, each in enumerate(marks) if "hidden" not in each) == counted.moved
    moved = [each for each in found.all("rect") if "moved" in str(each["class"])]
    assert len(moved) == len(counted.moved)
