"""Caches of conversations on the disk: kept, taken up, bounded, removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from glimp_local import Session, load_pair, units
from glimp_local.cli import cli
from glimp_local.engines.llama.engine import Engine
from glimp_local.errors import CacheError
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.records import caches, conversations, saved
from glimp_local.records.session_log import SessionLog
from glimp_local.tui.kept_caches import keepers
from tests.support.chatting import EXAMPLE
from tests.support.engines import ARCHITECTURES, IDS
from tests.support.sessions import (
    Open,
    assert_caches_equal_fresh_runs,
    engines_in,
    lane_of,
    lanes_of,
    prompt_of,
)

GB = 1e9


def converse(session: Session, *questions: str) -> None:
    """Ask, and save what was answered."""
    log = SessionLog()
    log.begin(session.pair.name, {})
    for question in questions:
        for event in session.ask(question):
            log.write(event)
    log.close()


def keep(pair: Pair) -> saved.SavedSession:
    found = conversations.find()
    caches.keep(found.path, keepers(pair), limit_bytes=GB)
    return found


def taken_up(pair: Pair, found: saved.SavedSession) -> Session:
    """Take a conversation and its caches up, as a chat does."""
    for model, engine in engines_in(pair).items():
        assert caches.take_up(found.path, model, engine) == len(engine.ids) > 0
    session = Session(pair, seed=1)
    session.restore(found.tree)
    return session


def fed(pair: Pair, session: Session, question: str) -> dict[str, int]:
    """Give how many tokens each model is fed for its part of the next turn's prompt."""
    before = {model: engine.fed for model, engine in engines_in(pair).items()}
    history = session.messages
    turn, prompts = session._prepare(session._loop, history, [Message("user", question)], "")
    session._begin(session._loop, turn, prompts, history)
    for lane in lanes_of(session):
        lane.catch_up()
    return {model: engine.fed - before[model] for model, engine in engines_in(pair).items()}


# A conversation that goes on.


def test_a_long_conversation_goes_on_with_as_few_tokens_as_if_it_had_never_been_left() -> None:
    with load_pair("builtin", sampling={"temperature": 0}) as pair:
        session = Session(pair, seed=1)
        converse(session, *[EXAMPLE] * 5)
        found = keep(pair)
        never_left = fed(pair, session, EXAMPLE)
        total = len(lane_of(session, "small").ids)
    with load_pair("builtin", sampling={"temperature": 0}) as pair:
        session = taken_up(pair, found)
        assert fed(pair, session, EXAMPLE) == never_left
        assert 3 * max(never_left.values()) < total
        assert_caches_equal_fresh_runs(session)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_models_that_cannot_go_back_go_on_from_the_disk_too(open_pair: Open, name: str) -> None:
    settings = {"max_answer": 20, "sampling": {"temperature": 1, "top_k": 0}}
    pair = open_pair(name, name, **settings)
    session = Session(pair, seed=1)
    converse(session, "What is it? " * 5, "And then? " * 5)
    found = keep(pair)
    assert all(turn.answer for turn in found.turns)
    never_left = fed(pair, session, "And now?")
    again = open_pair(name, name, **settings)
    session = taken_up(again, found)
    snapshots = {
        model: [length for length, _ in engine._cache.snapshots] for model, engine in engines_in(again).items()
    }
    now = fed(again, session, "And now?")
    for model in session._lanes:
        lane = lane_of(session, model)
        # Of a sliding window the disk has only what the end needs: it may have to go back to the snapshot.
        behind = len(lane.ids) - snapshots[model][-1] if name == "sliding-window" else 0
        assert now[model] <= max(never_left[model], behind) < len(lane.ids) / 2
    assert_caches_equal_fresh_runs(session)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_turn_left_in_the_middle_is_taken_up_in_the_tokens_that_the_model_holds(open_pair: Open, name: str) -> None:
    pair = open_pair(name, name, max_answer=5)
    converse(Session(pair, seed=1), "What?")
    found = conversations.find()
    (turn,) = found.turns
    # Random models write no text worth the name: these have written "First one.", letter by letter, and then "First".
    step = msgspec.structs.replace(turn.steps[0], text="First one.\n\nFirst one.\n\n", end="cancelled")
    turn.steps, turn.finish = [step], "cancelled"
    read = {}
    for model, engine in engines_in(pair).items():
        prompt = prompt_of(pair, model, Message("user", "What?"))
        engine.sync(prompt[:-3])
        engine.snapshot()
        letters = [id_ for letter in "First one.\n\n" for id_ in engine.vocabulary.tokenize(letter)]
        read[model] = [*prompt, *letters, *engine.vocabulary.tokenize("First")]
        engine.sync(read[model])
    keep(pair)
    again = open_pair(name, name, max_answer=5)
    session = taken_up(again, found)
    for model in session._lanes:
        lane = lane_of(session, model)
        rest = lane.engine.vocabulary.tokenize(" one.\n\n")
        assert lane.ids == [*read[model], *rest]
        lane.catch_up()
        assert lane.engine.fed == len(rest)
    assert_caches_equal_fresh_runs(session)


# What is on the disk.


@pytest.fixture
def engine(tiny: Path) -> Iterator[Engine]:
    engine = Engine(tiny / "attention.gguf", context=512)
    engine.feed(IDS[:100])
    yield engine
    engine.close()


@pytest.fixture
def conversation(tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: tmp_path / f"{name}.jsonl"


def elsewhere(model: Path, conversation: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with an engine that holds 100 tokens."""
    begin = """
        import os, signal, sys
        from pathlib import Path
        from glimp_local.records import caches
        from glimp_local.engines.llama.engine import Engine
        from glimp_local.errors import CacheError
        engine, conversation = Engine(Path(sys.argv[1]), context=512), Path(sys.argv[2])
        engine.feed(range(100))
    """
    program = textwrap.dedent(begin) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program, model, conversation], capture_output=True, text=True, check=False
    )


def test_where_nothing_is_kept_nothing_is_taken_up(engine: Engine, conversation: Callable[[str], Path]) -> None:
    assert caches.take_up(conversation("x"), "large", engine) == 0
    assert caches.kept_bytes(conversation("x")) == 0
    caches.remove(conversation("x"))


def test_what_is_larger_than_all_may_be_is_not_kept(engine: Engine, conversation: Callable[[str], Path]) -> None:
    caches.keep(conversation("x"), {"large": engine}, limit_bytes=GB)
    before = caches.kept_bytes(conversation("x"))
    engine.feed(IDS[100:200])
    with pytest.raises(CacheError, match=r"take [\d.]+ kB, and [\d.]+ kB are allowed: they are not kept"):
        caches.keep(conversation("x"), {"large": engine}, limit_bytes=before)
    assert caches.kept_bytes(conversation("x")) == before


def test_the_conversation_used_longest_ago_makes_room(engine: Engine, conversation: Callable[[str], Path]) -> None:
    one, two, three = map(conversation, ("one", "two", "three"))
    for age, path in ((30, one), (20, two)):
        caches.keep(path, {"large": engine}, limit_bytes=GB)
        (file,) = path.with_suffix(".caches").iterdir()
        os.utime(file, (file.stat().st_mtime - age,) * 2)
    caches.take_up(one, "large", engine)  # used, just now
    limit = 2 * engine.state_bytes + 1000
    caches.keep(three, {"large": engine}, limit_bytes=limit)
    assert [caches.kept_bytes(path) > 0 for path in (one, two, three)] == [True, False, True]
    assert sum(map(caches.kept_bytes, (one, two, three))) <= limit
    caches.keep(three, {"large": engine}, limit_bytes=limit)  # what is replaced needs no room beside it
    assert caches.kept_bytes(one)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_what_a_link_leads_to_does_not_make_room(
    engine: Engine, conversation: Callable[[str], Path], tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "film.mp4").write_bytes(bytes(10**6))
    path = conversation("x")
    (path.parent / "link.caches").symlink_to(mine)
    caches.keep(path, {"large": engine}, limit_bytes=engine.state_bytes + 1000)
    assert (mine / "film.mp4").exists()
    assert caches.kept_bytes(path)


def test_what_an_earlier_glimp_kept_is_found_by_its_name(engine: Engine, conversation: Callable[[str], Path]) -> None:
    caches.keep(conversation("x"), {"large": engine}, limit_bytes=GB)
    (file,) = conversation("x").with_suffix(".caches").iterdir()
    file.rename(file.with_name(f"large-{engine.former_identity[:16]}.state"))
    assert caches.take_up(conversation("x"), "large", engine) == 100
    assert file.exists()


def test_two_engines_of_one_model_have_a_file_each(open_pair: Open, conversation: Callable[[str], Path]) -> None:
    pair = open_pair("small", "small")
    for length, engine in zip((20, 30), engines_in(pair).values(), strict=True):
        engine.feed(IDS[:length])
    caches.keep(conversation("x"), keepers(pair), limit_bytes=GB)
    assert [caches.take_up(conversation("x"), model, engine) for model, engine in engines_in(pair).items()] == [20, 30]


def test_another_model_has_its_own_file(engine: Engine, conversation: Callable[[str], Path], tiny: Path) -> None:
    caches.keep(conversation("x"), {"large": engine}, limit_bytes=GB)
    other = Engine(tiny / "hybrid.gguf", context=512)
    assert caches.take_up(conversation("x"), "large", other) == 0
    other.feed(IDS[:50])
    caches.keep(conversation("x"), {"large": other}, limit_bytes=GB)
    other.close()
    assert caches.take_up(conversation("x"), "large", engine) == 100


@pytest.mark.skipif(sys.platform == "win32", reason="nothing kills like this there")
def test_what_a_killed_process_was_writing_is_not_taken_up_and_goes_away(
    engine: Engine, conversation: Callable[[str], Path]
) -> None:
    folder = conversation("x").with_suffix(".caches")
    done = elsewhere(
        engine.path,
        conversation("x"),
        """
        save = engine.save_state
        engine.save_state = lambda path: (save(path), os.truncate(path, 5000), os.kill(os.getpid(), signal.SIGKILL))
        caches.keep(conversation, {"large": engine}, limit_bytes=1e9)
        """,
    )
    assert done.returncode == -9
    assert [file.stat().st_size for file in folder.iterdir()] == [5000]
    assert caches.take_up(conversation("x"), "large", engine) == 0
    engine.sync(IDS[:100])
    caches.keep(conversation("x"), {"large": engine}, limit_bytes=GB)
    assert [file.suffix for file in folder.iterdir()] == [".state"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size there")
def test_where_the_disk_is_full_nothing_is_left_and_the_others_stay(
    engine: Engine, conversation: Callable[[str], Path]
) -> None:
    caches.keep(conversation("other"), {"large": engine}, limit_bytes=GB)
    done = elsewhere(
        engine.path,
        conversation("x"),
        """
        import resource
        for room in (0, 10, 5000, engine.state_bytes - 1100, engine.state_bytes - 900):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            try:
                caches.keep(conversation, {"large": engine}, limit_bytes=1e9)
            except CacheError as error:
                print(error)
        engine.sync(list(range(110)))
        assert engine.fed == 110
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cannot be") == 5, done.stdout
    assert list(conversation("x").with_suffix(".caches").iterdir()) == []
    assert caches.take_up(conversation("other"), "large", engine) == 100


def test_they_are_listed_and_removed_with_their_conversation(open_pair: Open) -> None:
    pair = open_pair()
    converse(Session(pair, seed=1), "first")
    listed = [CliRunner().invoke(cli, ["sessions", "list", "--json"]).output]
    found = keep(pair)
    listed.append(CliRunner().invoke(cli, ["sessions", "list", "--json"]).output)
    size = caches.kept_bytes(found.path)
    assert size > 0
    assert [json.loads(line)["cache_bytes"] for line in listed] == [0, size]
    assert (
        f"{units.file_size(size + found.path.stat().st_size)}  first"
        in CliRunner().invoke(cli, ["sessions", "list"]).output
    )
    assert CliRunner().invoke(cli, ["sessions", "rm", found.id, "--yes"]).exit_code == 0
    assert list(found.path.parent.iterdir()) == []
