"""What the chat says of a step and of what the models are doing."""

from __future__ import annotations

from pathlib import Path

import pytest

from glimp_local.models.names import readable_name
from glimp_local.routing import Model, Reason
from glimp_local.runs import Decided, Step
from glimp_local.session.turn import Activity
from glimp_local.tui import status
from glimp_local.tui.reasons import why


def decided(reason: Reason, entropy: float | None, threshold: float | None) -> Decided:
    model: Model = "large" if reason == "uncertain" else "small"
    return Decided(3, "thought", model, reason, threshold, entropy, 0.41, 0.12)


def test_a_step_that_was_unsure_says_by_how_much_and_who_wrote_it() -> None:
    assert why(decided("uncertain", 0.82, 0.3)) == (
        "Step 4 by the large model: 0.82 nats, above 0.30: unsure, so the large model wrote it. "
        "The small model's likeliest first token had 41%, the next 29%."
    )


def test_a_step_that_was_sure_says_so() -> None:
    assert "0.10 nats, not above 0.30: sure, so the small model wrote it" in why(decided("confident", 0.1, 0.3))


def test_a_step_nobody_looked_at_says_what_decided() -> None:
    step = Decided(0, "answer", "large", "answer", None, None, None, None)
    assert why(step) == "The answer by the large model: this model writes the answers (answer_by)."


def test_a_step_that_repeated_itself_says_that_it_was_stopped() -> None:
    step = Step(0, "thought", "small", "policy", None, 0.5, None, None, 9, 1.0, 0, 0.0, "repetition", "so so so")
    assert why(step).endswith("(0.50 nats at its start). It repeated itself and was stopped.")


def test_reading_shows_how_far_and_writing_how_fast_also_below_one_token_a_second() -> None:
    assert status.working(Activity("small", "reads", 1876, 4690), thinks=True) == "S reading 4,690 tokens, 40%"
    assert status.working(Activity("small", "reads", 0, 300), thinks=True) == "S reading 300 tokens"
    writes = Activity("large", "writes", 4, tokens_per_second=0.4)
    assert status.working(writes, thinks=True) == "L writing, 4 tokens, 0.4 tokens/s"
    assert status.working(Activity("large", "writes", 1), thinks=True) == "L writing, 1 token"


def test_between_two_things_it_says_what_a_pair_does_that_thinks_or_does_not() -> None:
    assert status.working(None, thinks=True) == "thinking"
    assert status.working(None, thinks=False) == "writing"


def test_a_long_text_shows_its_size_and_the_ways_out_if_it_does_not_fit() -> None:
    assert status.size("a\nb", None) == "2 lines, 3 bytes"
    assert status.size("a", (4690, 8192)) == "1 line, 4,690 tokens of 8,192"
    assert "--ctx or another pair" in status.size("a", (9000, 8192))


@pytest.mark.parametrize(
    ("given", "file", "expected"),
    [
        ("Qwen2.5 Coder 1.5B Instruct GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m", "Qwen2.5 Coder 1.5B Instruct"),
        ("Smollm2 135M 8k Lc100K Mix1 Ep2", "smollm2-135m-instruct-q4_1", "smollm2-135m-instruct-q4_1"),
        ("Qwen3 4B", "weights", "Qwen3 4B"),
        (None, "mine", "mine"),
        ("...", "mine", "mine"),
    ],
)
def test_a_model_is_called_by_the_name_a_person_gave_it(given: str | None, file: str, expected: str) -> None:
    assert readable_name(given, Path(f"{file}.gguf")) == expected
