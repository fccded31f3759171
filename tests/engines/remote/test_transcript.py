"""A conversation as it is sent: what is tokenised when, and that going back leaves nothing of what was cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from glimp_local.engines.remote.transcript import Transcript


class Letters:
    """A vocabulary of letters, which counts how often it is asked; what stands together becomes other tokens."""

    bos, adds_bos = -1, False

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def tokenize(self, text: str | bytes, *, control: bool = False, continues: bool = False) -> list[int]:
        del continues
        raw = text if isinstance(text, bytes) else text.encode()
        self.asked.append(raw)
        pairs = [raw[at : at + 2] for at in range(0, len(raw), 2)]
        return [int.from_bytes(pair, "big") + 2**20 * control for pair in pairs]

    def parts(self, text: bytes) -> list[bytes]:
        return [text]

    def is_control(self, token: int) -> bool:
        return token >= 2**20

    def reveal(self, marker: str) -> None:
        pass


def test_text_that_stands_together_is_asked_for_at_once_and_only_if_it_is_sent() -> None:
    letters = Letters()
    transcript = Transcript(letters, is_lazy=True)
    transcript.append(b"abc", own=False)
    mark = len(transcript)
    transcript.append(b"dropped", own=False)
    transcript.cut(mark)
    transcript.append(b"d", own=False)
    transcript.append(b"<end>", own=True)
    assert letters.asked == []
    ids = transcript.prompt()
    assert letters.asked == [b"abcd", b"<end>"]
    assert transcript.prompt() == ids
    assert letters.asked == [b"abcd", b"<end>"]


def test_tokens_that_reach_over_a_cut_are_made_again() -> None:
    letters = Letters()
    transcript = Transcript(letters, is_lazy=True)
    transcript.append(b"a", own=False)
    mark = len(transcript)
    transcript.append(b"b", own=False)
    assert transcript.prompt() == letters.tokenize(b"ab")
    transcript.cut(mark)
    assert transcript.prompt() == letters.tokenize(b"a")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.text("ab", max_size=3), st.booleans()),
        st.tuples(st.just("ids"), st.lists(st.integers(0, 9), max_size=3), st.booleans()),
        st.tuples(st.just("cut"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("prompt"), st.none(), st.booleans()),
    ),
    max_size=20,
)


@given(STEPS)
def test_what_is_sent_is_what_was_put_there_and_not_cut(steps: list[tuple[str, object, bool]]) -> None:
    transcript = Transcript(Letters(), is_lazy=True)
    put: list[bytes | list[int]] = []
    marks = [(0, 0)]
    for what, value, own in steps:
        if what == "append" and value:
            transcript.append(str(value).encode(), own=own)
            put.append(str(value).encode())
        elif what == "ids" and isinstance(value, list) and value:
            transcript.append_ids(value)
            put.append(value)
        elif what == "cut" and isinstance(value, int):
            mark, length = marks[value % len(marks)]
            transcript.cut(mark)
            del put[length:]
            marks = [one for one in marks if one[1] <= length]
        elif what == "prompt":
            transcript.prompt()
        marks.append((len(transcript), len(put)))
    sent = transcript.prompt()
    assert isinstance(sent, list)
    text = b"".join(
        bytes([token]) if token < 10 else (token % 2**20).to_bytes(2, "big").lstrip(b"\0") for token in sent
    )
    assert text == b"".join(bytes(one) for one in put)
    assert transcript.tokens == len(sent)


def test_where_text_is_sent_there_are_no_tokens() -> None:
    transcript = Transcript(None, is_lazy=True)
    transcript.append("naïve".encode(), own=False)
    transcript.append(b"</think>", own=True)
    assert transcript.prompt() == "naïve</think>"
    assert transcript.tokens == 3 + 4
    transcript.append(b"123", own=False, tokens=3)
    assert transcript.tokens == 3 + 4 + 3
