"""English verb forms for the wordings: present and past, for one and for several."""

from __future__ import annotations

_PAST = dict(
    pair.split(":")
    for pair in (
        "have:had be:was do:did find:found buy:bought get:got win:won pick:picked lose:lost sell:sold throw:threw "
        "give:gave break:broke eat:ate spend:spent burn:burned leave:left lend:lent hand:handed send:sent take:took "
        "make:made keep:kept put:put split:split come:came bring:brought fly:flew run:ran go:went fall:fell "
        "swim:swam catch:caught grow:grew tear:tore begin:began hold:held cut:cut blow:blew sing:sang read:read "
        "weigh:weighed drive:drove ride:rode drink:drank teach:taught forget:forgot feed:fed hide:hid steal:stole "
        "wear:wore sit:sat shoot:shot mean:meant dig:dug become:became tell:told know:knew see:saw buy:bought "
        "let:let knit:knitted sink:sank "
        "hurt:hurt sleep:slept build:built draw:drew write:wrote pay:paid deal:dealt cost:cost"
    ).split()
)
_DOUBLED = frozenset("drop grab trim pop ship wrap chop swap slip trap rob jog stop rip snap".split())
_THIRD = {"have": "has", "be": "is", "do": "does", "go": "goes"}
_VOWELS = "aeiou"


def third(verb: str) -> str:
    """Return the form for one other person: finds, catches, carries."""
    if verb in _THIRD:
        return _THIRD[verb]
    if verb.endswith(("s", "x", "ch", "sh", "z")):
        return f"{verb}es"
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return f"{verb[:-1]}ies"
    return f"{verb}s"


def past(verb: str) -> str:
    """Return the past: found, dropped, carried."""
    if verb in _PAST:
        return _PAST[verb]
    if verb.endswith("e"):
        return f"{verb}d"
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return f"{verb[:-1]}ied"
    return f"{verb}{verb[-1]}ed" if verb in _DOUBLED else f"{verb}ed"


def inflect(verb: str, *, is_past: bool, is_third: bool) -> str:
    """Return a verb's form for its subject (`is_third`: he, she, it) and tense."""
    if verb == "be" and not is_third:
        return "were" if is_past else "are"
    if is_past:
        return past(verb)
    return third(verb) if is_third else verb


def singular(things: str) -> str:
    """Return a plural's singular: marble, cherry, leaf."""
    for ending, one in (
        ("ies", "y"),
        ("ves", "f"),
        ("oes", "o"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("xes", "x"),
        ("sses", "ss"),
    ):
        if things.endswith(ending) and things not in {"gloves", "shoes"}:
            return things.removesuffix(ending) + one
    return things.removesuffix("s")
