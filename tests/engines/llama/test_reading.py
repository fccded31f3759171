"""Reading ahead: one thread at a time, and an account that is right however a reading ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from glimp_local.engines.llama.reading import ReadingAhead
from glimp_local.errors import CancelledError, DecodeError


class Reader:
    """Reads a token at a time until it is told to stop, as an engine does."""

    def __init__(self, ahead: ReadingAhead) -> None:
        self.ahead = ahead
        self.fed = 0
        self.threads: list[int] = []
        self.begun = threading.Event()

    def read(self, then: Callable[[], object] = lambda: None) -> None:
        self.threads.append(threading.get_ident())
        self.fed += 1
        then()
        self.begun.set()
        self.ahead.stopping.wait()
        raise CancelledError("stopped")

    def start(self, then: Callable[[], object] = lambda: None) -> None:
        self.begun.clear()
        self.ahead.start(lambda: self.read(then), lambda: self.fed)
        self.begun.wait()


@pytest.fixture
def reader() -> Iterator[Reader]:
    ahead = ReadingAhead("a model")
    yield Reader(ahead)
    ahead.close()


def test_stopping_waits_for_the_end_and_leaves_the_next_reading_alone(reader: Reader) -> None:
    for count in (1, 2):
        reader.start()
        assert (reader.ahead.has_begun, reader.ahead.is_reading) == (True, True)
        reader.ahead.stop()
        assert (reader.ahead.has_begun, reader.ahead.is_reading) == (False, False)
        assert not reader.ahead.stopping.is_set()
        assert reader.ahead.tokens == count


def test_all_readings_are_in_one_thread_that_is_not_the_caller_s(reader: Reader) -> None:
    for _ in range(3):
        reader.start()
        reader.ahead.stop()
    assert len(set(reader.threads)) == 1
    assert threading.get_ident() not in reader.threads


def test_what_reads_does_not_stop_itself(reader: Reader) -> None:
    reader.start(then=reader.ahead.stop)
    assert reader.ahead.is_reading


def test_a_reading_that_ended_by_itself_is_over_but_not_yet_stopped(reader: Reader) -> None:
    done = threading.Event()
    reader.ahead.start(done.set, lambda: 0)
    done.wait()
    while reader.ahead.is_reading:
        pass
    assert reader.ahead.has_begun
    reader.ahead.stop()
    assert not reader.ahead.has_begun


def test_a_failure_is_logged_and_what_was_read_before_counts(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        reader.fed += 5
        raise DecodeError("it broke")

    with caplog.at_level(logging.DEBUG):
        reader.ahead.start(fail, lambda: reader.fed)
        reader.ahead.stop()
    assert "a model reads no further ahead: it broke" in caplog.text
    assert reader.ahead.tokens == 5
    assert reader.ahead.seconds > 0


def test_an_error_of_another_kind_comes_out_of_stop_once(reader: Reader) -> None:
    reader.ahead.start(lambda: 1 // 0, lambda: 0)
    with pytest.raises(ZeroDivisionError):
        reader.ahead.stop()
    reader.ahead.stop()
    reader.start()
    assert reader.ahead.is_reading


def test_closing_stops_and_ends_the_thread() -> None:
    before = threading.active_count()
    reader = Reader(ReadingAhead("a model"))
    reader.start()
    assert threading.active_count() == before + 1
    reader.ahead.close()
    reader.ahead.close()
    assert threading.active_count() == before
