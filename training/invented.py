"""Words that nobody knows: random syllables, as names, things, places and verbs.

A model that met only known words cannot copy others. These teach it to: their pieces are copied one by one.
"""

from __future__ import annotations

from random import Random

_ONSETS = (
    "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kn l m n p ph pl pr qu r s sc sh sk sl sm sn sp st str t th tr "
    "v w wh x y z"
).split() + [""] * 4
_VOWELS = "a e i o u a e i o u ai au ea ee ei ie io oa oo ou y".split()
_CODAS = "b ck d ff g l ll m mp n nd ng nk nt p r rd rk rm rn rt s sh sk ss st t tch th w x".split() + [""] * 22
_THING_ENDS = "ler ner ster kin let ton mer ber gle dle ple nut ant ing el er ette on in o".split()
_ACCENTS = {"a": "áàâäåã", "e": "éèêë", "i": "íîï", "o": "óôöø", "u": "úùûü", "c": "ç", "n": "ñ", "s": "š", "z": "ž"}
_NAME_ENDS = "a ia ina elle ette us o ko ton bert wyn mir ka shi ji an en iel ara esh".split()


def syllables(rng: Random, most: int) -> str:
    """Return 1 to `most` random syllables, three letters at least."""
    while True:
        word = "".join(
            rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.randint(1, most))
        )
        if len(word) >= 3:
            return word


def thing(rng: Random) -> str:
    """Return something that can be counted, in the plural."""
    stem = syllables(rng, 2) + (rng.choice(_THING_ENDS) if rng.random() < 0.5 else "")
    if stem.endswith(("s", "x", "ch", "sh")):
        return f"{stem}es"
    return f"{stem}s"


def name(rng: Random) -> str:
    """Return a person's name."""
    return (syllables(rng, 2) + (rng.choice(_NAME_ENDS) if rng.random() < 0.4 else "")).capitalize()


def odd_name(rng: Random) -> str:
    """Return a person's name with a hyphen, an apostrophe or an accent."""
    first, second = name(rng), name(rng)
    accented = "".join(rng.choice(_ACCENTS.get(letter, letter)) for letter in first)
    return rng.choice([f"{first}-{second}", f"{rng.choice('OD')}'{first}", accented, accented])


def place(rng: Random) -> str:
    """Return the noun of a place or a shop."""
    return syllables(rng, 2) + (rng.choice(_THING_ENDS) if rng.random() < 0.4 else "")


def verb(rng: Random) -> str:
    """Return a verb; what it does is known only from the words around it."""
    return syllables(rng, 2)
