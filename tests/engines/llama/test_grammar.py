"""Answers held to a JSON schema: whatever the model would have written, they fit."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from glimp_local import Session
from glimp_local.errors import UsageError
from glimp_local.events import fold
from glimp_local.messages import Constraint
from glimp_local.pair import Pair
from tests.support.sessions import Open

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}, "warm": {"type": "boolean"}},
    "required": ["city", "warm"],
}


def answered(pair: Pair, constraint: Constraint, **more: Any) -> str:
    session = Session(pair, seed=7, constraint=constraint, **more)
    solution = fold(session.ask("Which city?"))
    assert solution.finish_reason == "done"
    return solution.answer


@pytest.mark.parametrize("draft", ["off", 4])
@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_an_answer_fits_and_the_thought_is_free(open_pair: Open, draft: Any, temperature: float) -> None:
    pair = open_pair("large", "large", draft=draft, sampling={"temperature": temperature, "repeat_penalty": 1.1})
    session = Session(pair, seed=7, constraint=Constraint(CITY))
    solution = fold(session.ask("Which city?"))
    found = json.loads(solution.answer)
    assert found["city"] in {"Oslo", "Rome"}
    assert isinstance(found["warm"], bool)
    assert any(step.part == "thought" for step in solution.steps)


def test_a_routed_answer_fits_over_both_models_and_vocabularies(open_pair: Open) -> None:
    pair = open_pair("small", "other-vocabulary", answer_by="route", policy="random", share=0.5, max_step=3)
    session = Session(pair, seed=5, constraint=Constraint(CITY))
    solution = fold(session.ask("Which city?"))
    assert json.loads(solution.answer)["city"] in {"Oslo", "Rome"}
    assert {step.model for step in solution.steps if step.part == "answer"} == {"small", "large"}


def test_a_reply_without_thought_fits_too(open_pair: Open) -> None:
    pair = open_pair("plain", "plain")
    assert isinstance(
        json.loads(answered(pair, Constraint({"type": "array", "items": {"const": 3}, "maxItems": 4}))), list
    )


def test_parts_are_told_apart_by_their_whole_names(open_pair: Open) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Rome"]}, "home": {"$ref": "#/$defs/city"}, "glimp-answer": {"const": 3}},
        "required": ["city", "home", "glimp-answer"],
        "$defs": {"city": {"const": "Oslo"}, "string": {"const": "x"}},
    }
    found = json.loads(answered(open_pair("large", "large"), Constraint(schema)))
    assert found == {"city": "Rome", "home": "Oslo", "glimp-answer": 3}


@pytest.mark.parametrize("pattern", ["^[a-c]{1,3}-[0-9]+$", r"^\d{4}-\d{2}$", "^(Oslo|Rome)!?$", r"^\(a\)\*$"])
def test_patterns_that_people_use_are_fine(open_pair: Open, pattern: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}, "required": ["a"]}
    pair = open_pair("large", "large", max_answer=200)
    solution = fold(Session(pair, seed=7, constraint=Constraint(schema)).ask("Which?"))
    assert solution.finish_reason in {"done", "answer_budget"}
    if solution.finish_reason == "done":
        assert re.search(pattern, json.loads(solution.answer)["a"])


def test_what_llama_cpp_cannot_read_is_not_printed(open_pair: Open, capfd: pytest.CaptureFixture[str]) -> None:
    pair = open_pair("large", "large")
    with pytest.raises(UsageError, match="no grammar"):
        Session(pair, constraint=Constraint({"type": "string", "pattern": r"^SECRET[\q]$"}))
    assert "SECRET" not in "".join(capfd.readouterr())


def test_a_schema_may_name_its_parts(open_pair: Open) -> None:
    parts = {"City": CITY, "Pair": {"type": "array", "items": {"$ref": "#/$defs/City"}, "minItems": 2, "maxItems": 2}}
    pair = open_pair("small", "large")
    for schema in (
        {"$ref": "#/$defs/Pair", "$defs": parts},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/Pair"}}, "required": ["a"], "$defs": parts},
    ):
        found = json.loads(answered(pair, Constraint(schema)))
        pair_of_cities = found["a"] if isinstance(found, dict) else found
        assert [set(city) for city in pair_of_cities] == [{"city", "warm"}] * 2


def test_an_answer_can_be_written_again(open_pair: Open) -> None:
    pair = open_pair("large", "large")
    session = Session(pair, seed=7, constraint=Constraint(CITY), may_redo=True)
    steps = fold(session.ask("Which city?")).steps
    list(session.redo(len(steps) - 1, "small"))
    list(session.redo(0))
    assert json.loads(session.messages[-1].content)["city"] in {"Oslo", "Rome"}


def test_what_stands_around_the_json_is_written_as_it_is(open_pair: Open) -> None:
    pair = open_pair("large", "large")
    value = {"ä": 'a "b" \\ \n'}
    properties = {key: {"const": text} for key, text in value.items()}
    schema = {"type": "object", "properties": properties, "required": ["ä"]}
    answer = answered(pair, Constraint(schema, before='<call name="é">\n', after="\n</call>"))
    assert answer.startswith('<call name="é">\n{')
    assert json.loads(answer.removeprefix('<call name="é">\n').removesuffix("\n</call>")) == value


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "nonsense"}, "cannot be used"),
        ({"$ref": "https://example.com/schema.json"}, "nothing is fetched"),
        ({"$ref": "#/$defs/missing"}, "cannot be used"),
        ({"type": "string", "maxLength": 10**9}, "maxLength is at most 500"),
        ({"type": "string", "pattern": "^(a{1,9999}){1,9999}$"}, "quantifiers in a pattern"),
        ({"type": "string", "pattern": "^(((a{0,9}b){0,9}){0,9})$"}, "not around others"),
        ({"type": "string", "pattern": "^(a?|b?){1,20}c$"}, "not around others"),
        ({"type": "string", "pattern": "^" + "a?" * 90 + "$"}, "8 quantifiers at most"),
        ({"type": "string", "pattern": "^a{1000000000}$"}, "go up to 64"),
        ({"type": "string", "pattern": "a" * 300}, "200 characters at most"),
        ({"enum": []}, "without values"),
        ({"enum": list(range(501))}, "more than 500 values"),
        ({"properties": 7}, "no grammar of it"),
        ({"type": "array", "items": False}, "no grammar of it"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_before_anything_is_written(
    open_pair: Open, schema: dict[str, Any], says: str
) -> None:
    pair = open_pair("large", "large")
    with pytest.raises(UsageError, match=says):
        Session(pair, constraint=Constraint(schema))
