"""From a JSON schema to llama.cpp's grammar, by the binding's own converter."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from llama_cpp.llama_grammar import SchemaConverter


class _Converter(SchemaConverter):  # type: ignore[misc]  # the binding declares no types
    """The binding's converter, which does not escape backslashes in what has to stand there as it is."""

    def _format_literal(self, literal: str) -> str:
        with suppress(ValueError):  # the text of a property's name or of a value, spelled in ASCII
            literal = json.dumps(json.loads(literal), ensure_ascii=False)
        return json.dumps(literal, ensure_ascii=False)


def rules_of(schema: dict[str, Any]) -> str:
    """Return the rules of a grammar whose root is called `root`; raises whatever the converter stumbles over."""
    schema = json.loads(json.dumps(schema))  # the converter writes into it
    if (reference := schema.pop("$ref", None)) is not None:  # beside which the converter sees no definitions
        schema["anyOf"] = [{"$ref": reference}]
    converter = _Converter(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
    converter.visit(converter.resolve_refs(schema, "schema"), "")
    return str(converter.format_grammar())
