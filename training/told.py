"""Which events can be told without knowing their verb, because other words say what happens.

"4 of Mia's marbles" are lost whatever they do, and what somebody does with 5 marbles "to Tom" gives him them. Taught
with verbs that nobody knows, this is how the models read a stranger's.
"""

from __future__ import annotations

import re

_TOLD = re.compile(
    r"""
    (?P<head>\{(?:who|rel|to)\}\ )<\w+(?P<mark>(?::s?)?)>(?:\ [a-z]+)?(?P<rest>\ (?:
        \{n\}\ (?:more|fewer|less|of)\b.*                     # 5 more; 5 of the marbles; 5 fewer than Tom
        |\{n\}\ \{things\}\ (?:more|fewer|less)\ than.*
        |\{part\}\ of\ .*|\{to\}\ \{part\}.*
        |(?:\{m\}\ times|twice|half)\ as\ many.*
        |\{n\}\ (?:\{things\}\ )?(?:back\ )?(?:to|from)\ \{(?:rel|to|whom)\}.*
        |\{n\}\ \{things\}\ \{(?:into|from)\}
        |(?:\{whom\}|\{to\}|\{rel\})\ (?:\{n\}|another\ \{n\}).*
        |all\ \{her\}\ \{things\}\ (?:for|with)\ .*
        |the\ \{things\}\ into\ \{m\}\ equal.*
    ))
    |(?P<some>\{n\}\ (?:more|other|new|of)\ [^<]*|\{part\}\ (?:of\ [^<]*)?|another\ \{n\}\ )
        <\w+(?P<form>:s?)>(?:\ [a-z]+)*(?P<way>(?:\ \{from\}\ \{into2\}|\ for\ \{whom\})?)
    |(?P<both>\{who\}\ and\ \{to\}\ )<\w+:>(?P<all>\ all\ their\ \{things\})
    """,
    re.VERBOSE,
)
"""Wordings of events, their verb aside."""
_KEPT = re.compile(r"<(keep|let|be)\b| left\b")
"""Verbs that turn them round."""


def without_verb(template: str) -> str | None:
    """Return an event with `V` for its verb, if other words say what happens: to whom, from whom, of what."""
    told = None if _KEPT.search(template) else _TOLD.fullmatch(template)
    if told is None:
        return None
    group = told.groupdict(default="")
    if group["head"]:
        return f"{group['head']}<V{group['mark']}>{group['rest']}"
    if group["both"]:
        return f"{group['both']}<V:>{group['all']}"
    return f"{group['some']}<V{group['form']}>{group['way']}"
