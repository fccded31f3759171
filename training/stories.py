"""Counting stories: a question, the thought that solves it step by step, and the answer.

One or two people own some things; events change the amounts; at the end one amount, the sum or the difference is asked
for. Knows nothing of tokens or models. The same seed gives the same stories everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from training.words import NUMBER_WORDS, PARTS, TAUGHT, Kind, Words

LARGEST = 999
"""No amount is larger: three digits are one token."""
EVENTS = (2, 8)

_WEIGHTS: dict[Kind, float] = {
    "gain": 3,
    "loss": 3,
    "times": 2,
    "share": 2,
    "give": 6,
    "part": 2,
    "give part": 2.5,
    "swap": 2,
    "packs": 2,
    "compare": 4,
}
_FACTORS = range(2, 10)
_SHARES = range(2, 11)
_ROOM_FOR_PACKS = 20
_FEWEST = 2
"""Things are gained and lost in the plural."""
_NUMBER_AS_WORD, _FACTOR_AS_WORD = 0.15, 0.4
_COUNTED = 2
_PEOPLE = 4
_SHORTEST_NAME = 3
_AHEAD = 3
"""Words of the next sentence at the end of a quote: the next quote begins with them."""
_IDLE = 0.14
_INVENTED = 0.05
"""Share of stories with an invented name or thing, so that copying is learnt and not a list of words."""


@dataclass(frozen=True)
class Story:
    """A problem with its solution."""

    question: str
    steps: tuple[str, ...]
    """The thought; a blank line stands between two steps."""
    answer: str
    """One sentence with the number in a box."""
    number: int
    kinds: tuple[Kind, ...]
    """What happens, in order."""

    @property
    def thought(self) -> str:
        """The steps as the model writes them."""
        return "\n\n".join(self.steps)


@dataclass(frozen=True)
class Person:
    """Somebody in a story."""

    name: str
    girl: bool

    @property
    def her(self) -> str:
        """The possessive pronoun."""
        return "her" if self.girl else "his"


def held_out(words: Words, count: int, seed: int) -> list[Story]:
    """Give test stories; with `HELD_OUT` words they are the harder set. Training skips their questions."""
    rng = Random(f"held out {seed}")
    return [tell(rng, words) for _ in range(count)]


def endless(seed: str, *, events: tuple[int, int] = EVENTS, without: frozenset[str] = frozenset()) -> Iterator[Story]:
    """Give training stories without end, but for those whose question is in `without`."""
    rng = Random(seed)
    while True:
        story = tell(rng, TAUGHT, events=events)
        if story.question not in without:
            yield story


def tell(rng: Random, words: Words, *, events: tuple[int, int] = EVENTS) -> Story:
    """Make up one story, whose sentences can be told apart by the words a quote looks ahead."""
    while True:
        teller = _Teller(rng, words)
        story = teller.tell(rng.randint(*events))
        if len({beginning(sentence) for sentence, _ in teller.parts}) == len(teller.parts):
            return story


def beginning(sentence: str) -> str:
    """Give the words of a sentence that stand at the end of the quote before it."""
    return " ".join(sentence.split()[:_AHEAD])


@dataclass
class _Teller:
    """One story while it is made up."""

    rng: Random
    words: Words
    parts: list[tuple[str, list[str]]] = field(default_factory=list)
    """Each sentence with the steps it leads to."""
    kinds: list[Kind] = field(default_factory=list)
    last: Person | None = None
    """Whom a pronoun would mean."""
    joinable: bool = False
    """May the next event be joined to the last sentence with "and"?"""

    def __post_init__(self) -> None:
        rng = self.rng
        invented = self._chance(_INVENTED)
        self.things = self._invent(plural=True) if invented and self._chance(0.5) else rng.choice(self.words.things)
        self.other = rng.choice([thing for thing in self.words.things if thing != self.things])
        self.people: list[Person] = []
        while len(self.people) < _PEOPLE:
            girl = self._chance(0.5)
            name = self._invent() if invented and self._chance(0.5) else rng.choice(self._names(girl))
            if name not in {person.name for person in self.people}:
                self.people.append(Person(name, girl))
        # The first two are counted (or only the first); the others only pass by.
        self.couple = self._chance(0.65)
        self.amounts: dict[Person, int] = {}

    def tell(self, events: int) -> Story:
        self._begin()
        while len(self.kinds) < events:
            if self._chance(_IDLE):
                self._idle()
            else:
                self._event()
        number, answer = self._ask()
        question = " ".join(sentence for sentence, _ in self.parts)
        following = [f" {beginning(sentence)}" for sentence, _ in self.parts[1:]]
        steps = [
            step
            for (sentence, led_to), ahead in zip(self.parts, [*following, ""], strict=True)
            for step in (f"> {sentence}{ahead}", *led_to)
        ]
        return Story(question, tuple(steps), answer, number, tuple(self.kinds))

    # Words.

    def _names(self, girl: bool) -> tuple[str, ...]:
        return self.words.girls if girl else self.words.boys

    def _chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def _invent(self, *, plural: bool = False) -> str:
        rng = self.rng
        onset, vowel = "bcdfghjklmnprstvwz", "aeiou"
        word = "".join(rng.choice(onset) + rng.choice(vowel) for _ in range(rng.randint(1, 2)))
        word += rng.choice(["", "n", "r", "l", rng.choice(onset) + rng.choice(vowel), "ck", "ng"])
        return (
            word + "s"
            if plural
            else word.capitalize() + (rng.choice(["n", "s", "l"]) if len(word) < _SHORTEST_NAME else "")
        )

    def _say(self, template: str, **values: object) -> str:
        """Fill a wording and begin it with a capital letter."""
        text = template.format(**values)
        return text[0].upper() + text[1:]

    def _sentence(self, text: str) -> None:
        self.parts.append((text, []))

    def _step(self, text: str) -> None:
        self.parts[-1][1].append(text)

    def _number(self, n: int, often: float) -> str:
        return NUMBER_WORDS[n] if n in NUMBER_WORDS and self._chance(often) else str(n)

    def _clause(self, template: str, person: Person, to: Person | None = None, **values: object) -> None:
        """Add a sentence about a person's event: with a name or a pronoun, alone or joined to the last one."""
        rng = self.rng
        leads = template.startswith("{who} ")
        again = self.last == person
        pronoun = again and self._chance(0.5)
        fill: dict[str, object] = {
            "who": ("she" if person.girl else "he") if pronoun else person.name,
            "whom": ("her" if person.girl else "him") if pronoun else person.name,
            "whose": person.her if pronoun else f"{person.name}'s",
            "her": person.her,
            "things": self.things,
            **values,
        }
        if to is not None:
            fill |= {"to": to.name, "tos": f"{to.name}'s"}
        if "{rel}" in template:
            relation = rng.choice(self.words.relations).format(her=fill["whose"] if not leads else person.her)
            fill["rel"] = rng.choice(self.people[_COUNTED:]).name if self._chance(0.25) else relation
        if leads and self.joinable and self._chance(0.3 if again else 0.1):
            joint = rng.choice([" and ", " and ", " and then ", ", then "])
            sentence, steps = self.parts[-1]
            joined = f"{sentence[:-1]}{joint}{(template.removeprefix('{who} ') if again else template).format(**fill)}."
            self.parts[-1] = (joined, steps)
            self.joinable = False
        elif self.kinds and self._chance(0.3):
            self._sentence(f"{rng.choice(self.words.when)} {template.format(**fill)}.")
            self.joinable = leads
        else:
            self._sentence(self._say(template, **fill) + ".")
            self.joinable = leads
        self.last = person if leads or to is None else to if template.startswith("{to}") else None

    # The course of a story.

    def _begin(self) -> None:
        rng, (one, two) = self.rng, self.people[:_COUNTED]
        first, second = self._amount(), self._amount()
        if not self.couple or self._chance(0.35):  # the second person comes in by a comparison
            self._start(one, first)
        elif self._chance(0.5):
            text = rng.choice(self.words.start_both)
            self._sentence(self._say(text, who=one.name, to=two.name, n=first, m=second, things=self.things))
            self._result(one, first)
            self._result(two, second)
            self.last = None
        else:
            self._start(one, first)
            self._start(two, second)

    def _amount(self) -> int:
        return self.rng.randint(2, self.rng.choice([20, 99, 99, 400]))

    def _start(self, person: Person, amount: int) -> None:
        text = self.rng.choice(self.words.start)
        self._sentence(self._say(text, who=person.name, whose=f"{person.name}'s", n=amount, things=self.things))
        self._result(person, amount)
        self.last = person

    def _idle(self) -> None:
        rng = self.rng
        someone, friend = rng.sample(self.people[: _COUNTED if self._chance(0.5) and self.couple else _PEOPLE], 2)
        values = {"x": someone.name, "x2": friend.name, "n": rng.randint(2, 99), "m": rng.randint(2, 12)}
        template = rng.choice(self.words.idle)
        self._sentence(self._say(template, **values, other=self.other, things=self.things))
        self._step("Nothing changes.")
        self.joinable = False
        if "{x}" in template:
            self.last = None

    def _result(self, person: Person, amount: int) -> None:
        """Let a step say the new amount, and behind it everybody's, so that all amounts stand close by."""
        self.amounts[person] = amount
        self._step(f"{amount}: " + ", ".join(f"{who.name} {n}" for who, n in self.amounts.items()) + ".")

    def _gain(self, person: Person, n: int) -> None:
        x = self.amounts[person]
        self._step(f"Add: {person.name} {x} + {n}.")
        self._result(person, x + n)

    def _lose(self, person: Person, n: int, to: Person | None = None) -> None:
        x = self.amounts[person]
        self._step(f"{'Give' if to else 'Take'}: {person.name} {x} - {n}.")
        self._result(person, x - n)
        if to is not None:
            self._gain(to, n)

    def _some(self, most: int) -> int:
        return self.rng.randint(_FEWEST, min(most, self.rng.choice([20, 60, 60, 300])))

    def _event(self) -> None:
        """Add one event that is possible here."""
        person = self.rng.choice(list(self.amounts))
        to = next((other for other in self.amounts if other != person), None)
        kinds = self._possible(person, to)
        kind = self.rng.choices(kinds, [_WEIGHTS[kind] for kind in kinds])[0]
        match kind:
            case "gain" | "loss" | "give":
                self._move(kind, person, to)
            case "times" | "share":
                self._scale(kind, person)
            case "part" | "give part":
                self._part(kind, person, to)
            case "swap":
                self._swap(person, to)
            case "packs":
                self._packs(person)
            case "compare":
                self._compare(person)
        self.kinds.append(kind)

    def _possible(self, person: Person, to: Person | None) -> list[Kind]:
        x = self.amounts[person]
        room, room_to = LARGEST - x, LARGEST - self.amounts[to] if to else 0
        parts = [m for m in PARTS if x % m == 0 and x > m]
        possible: dict[Kind, bool] = {
            "gain": room >= _FEWEST,
            "loss": x > _FEWEST,
            "times": x + x <= LARGEST,
            "share": any(x % m == 0 for m in _SHARES) and x > max(_SHARES),
            "give": min(x - 1, room_to) >= _FEWEST,
            "part": bool(parts),
            "give part": any(x // m <= room_to for m in parts),
            "swap": to is not None,
            "packs": room >= _ROOM_FOR_PACKS,
            "compare": self.couple and to is None,
        }
        return [kind for kind, can in possible.items() if can]

    def _move(self, kind: Literal["gain", "loss", "give"], person: Person, to: Person | None) -> None:
        x = self.amounts[person]
        most = LARGEST - x if kind == "gain" else x - 1
        if kind == "give":
            assert to is not None
            most = min(most, LARGEST - self.amounts[to])
        n = self._some(most)
        self._clause(self._wording(kind), person, to if kind == "give" else None, n=self._number(n, _NUMBER_AS_WORD))
        if kind == "gain":
            self._gain(person, n)
        else:
            self._lose(person, n, to if kind == "give" else None)

    def _scale(self, kind: Literal["times", "share"], person: Person) -> None:
        rng, x = self.rng, self.amounts[person]
        if kind == "times":
            m = rng.choice([m for m in _FACTORS if m * x <= LARGEST])
            special = self.words.factors.get(m, ()) if self._chance(0.6) else ()
            template = rng.choice(special or self.words.wordings[kind])
            self._clause(template, person, m=self._number(m, _FACTOR_AS_WORD))
            self._step(f"Multiply: {person.name} {x} * {m}.")
            self._result(person, m * x)
            return
        m = rng.choice([m for m in _SHARES if x % m == 0])
        wordings = [text for text in self.words.wordings[kind] if "{part}" not in text or m in PARTS]
        part = rng.choice(PARTS.get(m, ("",)))
        self._clause(rng.choice(wordings), person, m=self._number(m, _FACTOR_AS_WORD), part=part)
        self._step(f"Divide: {person.name} {x} / {m}.")
        self._result(person, x // m)

    def _part(self, kind: Literal["part", "give part"], person: Person, to: Person | None) -> None:
        x = self.amounts[person]
        receiver = to if kind == "give part" else None
        room = LARGEST - self.amounts[receiver] if receiver else x
        m = self.rng.choice([m for m in PARTS if x % m == 0 and x > m and x // m <= room])
        self._clause(self._wording(kind), person, receiver, part=self.rng.choice(PARTS[m]))
        self._step(f"Part: {person.name} {x} / {m}.")
        self._step(f"{x // m} in it.")
        self._lose(person, x // m, receiver)

    def _swap(self, person: Person, to: Person | None) -> None:
        assert to is not None
        self._clause(self._wording("swap"), person, to)
        self._step("Swap.")
        self.amounts[person], self.amounts[to] = self.amounts[to], self.amounts[person]
        first = next(iter(self.amounts))
        self._result(first, self.amounts[first])

    def _packs(self, person: Person) -> None:
        m = self.rng.choice(_FACTORS)
        n = self.rng.randint(2, min(60, (LARGEST - self.amounts[person]) // m))
        self._clause(self._wording("packs"), person, m=self._number(m, _FACTOR_AS_WORD), n=n)
        self._step(f"Packs: {m} * {n}.")
        self._step(f"{m * n} in all.")
        self._gain(person, m * n)

    def _wording(self, kind: Kind) -> str:
        return self.rng.choice(self.words.wordings[kind])

    def _compare(self, known: Person) -> None:
        """Bring in the second person: with more, fewer, or a multiple of what the first one has."""
        rng, words, x = self.rng, self.words, self.amounts[known]
        new = self.people[1]
        factors = [m for m in _FACTORS if m * x <= LARGEST]
        ways = (
            ["more"] * (x + _FEWEST <= LARGEST)
            + ["fewer"] * (x > _FEWEST)
            + ["multiple"] * bool(factors)
            + ["half"] * (x % 2 == 0)
        )
        way = rng.choice(ways)
        self.last = None
        if way in {"more", "fewer"}:
            n = self._some(LARGEST - x if way == "more" else x - 1)
            self._clause(
                rng.choice(words.more if way == "more" else words.fewer), new, known, n=self._number(n, _NUMBER_AS_WORD)
            )
            self._step(f"{way.capitalize()}: {known.name} {x} {'+' if way == 'more' else '-'} {n}.")
            amount = x + n if way == "more" else x - n
        elif way == "half":
            self._clause(rng.choice(words.half), new, known)
            self._step(f"Half: {known.name} {x} / 2.")
            amount = x // 2
        else:
            m = rng.choice(factors)
            twice = m == min(_FACTORS) and self._chance(0.7)
            self._clause(
                rng.choice(words.twice if twice else words.multiple), new, known, m=self._number(m, _FACTOR_AS_WORD)
            )
            self._step(f"Multiple: {known.name} {x} * {m}.")
            amount = m * x
        self.joinable = False
        self._result(new, amount)

    def _ask(self) -> tuple[int, str]:
        """End with a question; give the number asked for and the answer."""
        rng, words = self.rng, self.words
        person = rng.choice(list(self.amounts))
        x = self.amounts[person]
        to = next((other for other in self.amounts if other != person), None)
        y = self.amounts[to] if to else 0
        ways = ["one", "one"]
        if to:
            ways += ["both"] * (x + y <= LARGEST) + ["difference"] * (x > y)
        way = rng.choice(ways)
        template = rng.choice({"one": words.ask_one, "both": words.ask_both, "difference": words.ask_difference}[way])
        her = to is None and self.last == person and self._chance(0.4)
        who = ("she" if person.girl else "he") if her else person.name
        values = {"who": who, "whose": person.her if her else f"{person.name}'s", "things": self.things}
        if to:
            values |= {"to": to.name, "tos": f"{to.name}'s"}
        self._sentence(self._say(template, **values))
        if way == "one":
            self._step(f"Asked: {person.name} {x}.")
            return x, f"In the end {person.name} has \\boxed{{{x}}} {self.things}."
        if way == "both":
            # In the order of the steps before: the question says nothing about it.
            (person, x), (_, y) = self.amounts.items()
            self._step(f"Together: {person.name} {x} + {y}.")
            self._step(f"{x + y} together.")
            return x + y, f"Together they have \\boxed{{{x + y}}} {self.things}."
        assert to is not None
        self._step(f"Difference: {person.name} {x} - {y}.")
        self._step(f"{x - y} more.")
        return x - y, f"In the end {person.name} has \\boxed{{{x - y}}} {self.things} more than {to.name}."
