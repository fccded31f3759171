"""From a JSON schema to llama.cpp's grammar, by the binding's own converter.

The schema comes from a client: what would take llama.cpp for ever, or fetch something, is refused before, and what the
converter mixes up (definitions of one name, booleans in place of schemas) is written in another way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from llama_cpp.llama_grammar import SchemaConverter

from glimp_local.errors import UsageError

_MOST_REPEATED = 500
"""Of the bounds on lengths: the grammar has a rule for each repetition."""
_BOUNDS = ("minLength", "maxLength", "minItems", "maxItems")
_MOST_VALUES = 500
"""Of all enumerations together: llama.cpp follows all that are still possible at each token."""
_MOST_QUANTIFIERS, _MOST_IN_PATTERN, _LONGEST_PATTERN = 8, 64, 200
_MOST_NODES, _DEEPEST = 2_000, 40
_SPACE = 'space ::= " "?'
_PARTS = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\{[^}]*\}|.", re.DOTALL)
"""Of a pattern: escapes, classes, bounds, single characters."""
_CLASSES = {r"\d": "[0-9]", r"\w": "[A-Za-z0-9_]", r"\s": "[ \\t]"}


class _Converter(SchemaConverter):  # type: ignore[misc]  # the binding declares no types
    """The binding's converter, which does not escape backslashes in what has to stand there as it is."""

    def _format_literal(self, literal: str) -> str:
        with suppress(ValueError):  # the text of a property's name or of a value, spelled in ASCII
            literal = json.dumps(json.loads(literal), ensure_ascii=False)
        return json.dumps(literal, ensure_ascii=False)


def rules_of(schema: dict[str, Any]) -> str:
    """Return the rules of a grammar whose root is called `root`; raises UsageError for a schema that cannot be used."""
    _check(schema)
    converter = _Converter(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
    try:
        converter.visit(converter.resolve_refs(_rewritten(schema), "schema"), "")
        rules = str(converter.format_grammar())
    except UsageError:
        raise
    except Exception as error:  # the converter raises whatever it stumbles over
        raise unusable("llama.cpp's converter makes no grammar of it") from error
    if _SPACE not in rules:
        raise RuntimeError("the binding's converter writes spaces in another way now")
    # It allows one blank at most, where models are used to lines and indents.
    return rules.replace(_SPACE, 'space ::= | " " | "\\n" [ \\t]{0,20}')


def unusable(why: str) -> UsageError:
    """Make the error for a schema that cannot be used."""
    return UsageError(f"the JSON schema cannot be used: {why}")


def _check(schema: Any) -> None:
    values = 0
    for count, (node, depth) in enumerate(_nodes(schema)):
        if count > _MOST_NODES or depth > _DEEPEST:
            raise unusable(f"it has more than {_MOST_NODES:,} parts, or is deeper than {_DEEPEST}")
        for name in _BOUNDS:
            bound = node.get(name, 0)
            if isinstance(bound, int | float) and not 0 <= bound <= _MOST_REPEATED:
                raise unusable(f"{name} is at most {_MOST_REPEATED}")
        reference = node.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#/"):
            raise unusable(f"nothing is fetched, as for $ref {reference[:100]!r}")
        if isinstance(found := node.get("enum"), list):
            values += len(found)
            if not found or values > _MOST_VALUES:
                raise unusable(f"it has an enum without values, or more than {_MOST_VALUES} values in all")
        if isinstance(pattern := node.get("pattern"), str):
            _check_pattern(pattern)


def _check_pattern(pattern: str) -> None:
    """Refuse a pattern that has too many ways to match: llama.cpp would follow all of them, and not come to an end."""
    if len(pattern) > _LONGEST_PATTERN or "\0" in pattern:
        raise unusable(f"a pattern has {_LONGEST_PATTERN} characters at most")
    count, groups, closed = 0, [False], False  # is there a quantifier in each open group, and in the one just closed?
    for found in _PARTS.finditer(pattern):
        part = found[0]
        is_quantifier = part[0] in "*+?{"
        if is_quantifier:
            count += 1
            if closed or any(int(number) > _MOST_IN_PATTERN for number in re.findall(r"\d{1,12}", part)):
                raise unusable(f"quantifiers in a pattern go up to {_MOST_IN_PATTERN}, and not around others")
            groups[-1] = True
        closed = False
        if part == "(":
            groups.append(False)
        elif part == ")" and len(groups) > 1:
            closed = groups.pop()
            groups[-1] = groups[-1] or closed
    if count > _MOST_QUANTIFIERS:
        raise unusable(f"a pattern has {_MOST_QUANTIFIERS} quantifiers at most")


def _nodes(value: Any) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield all objects in a value, and how deep they are."""
    waiting = [(value, 0)]
    while waiting:
        found, depth = waiting.pop()
        if isinstance(found, dict):
            yield found, depth
            waiting += [(item, depth + 1) for item in found.values()]
        elif isinstance(found, list):
            waiting += [(item, depth + 1) for item in found]


def _rewritten(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose references lead to definitions of names that the converter does not mix up.

    It tells definitions by the last part of their names, and properties by theirs.
    """
    named: dict[str, str] = {}
    definitions: dict[str, Any] = {}

    def rewritten(value: Any) -> Any:
        if isinstance(value, list):
            return [rewritten(item) for item in value]
        if not isinstance(value, dict):
            return value
        if isinstance(reference := value.get("$ref"), str):
            if reference not in named:
                named[reference] = name = f"glimp-part-{len(named)}"
                definitions[name] = rewritten(_found(schema, reference))
            return {"$ref": f"#/$defs/{named[reference]}"}
        kept = {key: item for key, item in value.items() if key not in {"$defs", "definitions"}}
        return {key: _whole(key, rewritten(item)) for key, item in kept.items()}

    root = rewritten(schema)
    if "$ref" in root:  # beside which the converter sees no definitions
        root = {"anyOf": [root]}
    return {**root, "$defs": definitions} if definitions else root


def _whole(key: str, value: Any) -> Any:
    """Return a value as the converter wants it: schemas as objects, lengths as whole numbers, classes spelled out."""
    if key == "pattern" and isinstance(value, str):
        return "".join(_CLASSES.get(part[0], part[0]) for part in _PARTS.finditer(value))
    if key in {"items", "additionalItems"} and value is True:
        return {}
    if key == "properties" and isinstance(value, dict):
        return {name: {} if item is True else item for name, item in value.items()}
    return int(value) if key in _BOUNDS and isinstance(value, float) else value


def _found(schema: Any, reference: str) -> Any:
    found = schema
    for part in reference.removeprefix("#/").split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or key not in found:
            raise unusable(f"there is no {reference[:100]!r} in it")
        found = found[key]
    return found
