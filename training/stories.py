"""Counting stories: a question, the thought that solves it step by step, and the answer.

One or two people own some things; events change the amounts; at the end one amount, the sum or the difference is asked
for. Knows nothing of tokens or models. The same seed gives the same stories everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from training.narrator import COUNTED, PEOPLE, Narrator, Person
from training.words import PARTS, TAUGHT, Kind, Words

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
_AHEAD = 3
"""Words of the next sentence at the end of a quote: the next quote begins with them."""
_UNMARKED = 0.04
"""Share of training stories that lack the question mark."""
_IDLE, _IDLE_TAUGHT = 0.14, 0.2
"""Share of sentences that change nothing, in the test stories and in training: telling them is learnt slowly."""


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


def held_out(words: Words, count: int, seed: int) -> list[Story]:
    """Give test stories; with `HELD_OUT` words they are the harder set. Training skips their questions."""
    rng = Random(f"held out {seed}")
    return [tell(rng, words) for _ in range(count)]


def endless(seed: str, *, events: tuple[int, int] = EVENTS, without: frozenset[str] = frozenset()) -> Iterator[Story]:
    """Give training stories without end, but for those whose question is in `without`."""
    rng = Random(seed)
    while True:
        story = tell(rng, TAUGHT, events=events, idle=_IDLE_TAUGHT)
        unmarked = rng.random() < _UNMARKED
        if story.question not in without:
            yield _unmarked(story) if unmarked else story


def _unmarked(story: Story) -> Story:
    """Leave the question mark out, as people do."""
    steps = tuple(step.removesuffix("?") for step in story.steps)
    return replace(story, question=story.question.removesuffix("?"), steps=steps)


def tell(rng: Random, words: Words, *, events: tuple[int, int] = EVENTS, idle: float = _IDLE) -> Story:
    """Make up one story, whose sentences can be told apart by the words a quote looks ahead."""
    while True:
        teller = _Teller(rng, words)
        story = teller.tell(rng.randint(*events), idle)
        if len({beginning(sentence) for sentence, _ in teller.narrator.parts}) == len(teller.narrator.parts):
            return story


def beginning(sentence: str) -> str:
    """Give the words of a sentence that stand at the end of the quote before it."""
    return " ".join(sentence.split()[:_AHEAD])


@dataclass
class _Teller:
    """One story while it is made up."""

    rng: Random
    words: Words
    kinds: list[Kind] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.narrator = Narrator(self.rng, self.words)
        # Two people are counted, or only one; the others pass by.
        self.couple = self.narrator.chance(0.65)
        self.amounts: dict[Person, int] = {}

    def tell(self, events: int, idle: float) -> Story:
        self._begin()
        while len(self.kinds) < events:
            if self.narrator.chance(idle):
                self._idle()
            else:
                self._event()
        number, answer = self._ask()
        question = " ".join(sentence for sentence, _ in self.narrator.parts)
        following = [f" {beginning(sentence)}" for sentence, _ in self.narrator.parts[1:]]
        read = [
            step
            for (sentence, led_to), ahead in zip(self.narrator.parts, [*following, ""], strict=True)
            for step in (f"> {sentence}{ahead}", *led_to)
        ]
        steps = (f"Count: {self.narrator.things}.", *read)
        return Story(question, steps, answer, number, tuple(self.kinds))

    def _begin(self) -> None:
        rng, (one, two) = self.rng, self.narrator.people[:COUNTED]
        first, second = self._amount(), self._amount()
        if not self.couple or self.narrator.chance(0.35):  # the second person comes in by a comparison
            self._start(one, first)
        elif self.narrator.chance(0.5):
            text = rng.choice(self.words.start_both)
            self.narrator.sentence(text, who=one.name, to=two.name, n=first, m=second)
            self._result(one, first)
            self._result(two, second)
            self.narrator.last = None
        else:
            self._start(one, first)
            self._start(two, second)

    def _amount(self) -> int:
        return self.rng.randint(2, self.rng.choice([20, 99, 99, 400]))

    def _start(self, person: Person, amount: int) -> None:
        text = self.rng.choice(self.words.start)
        self.narrator.sentence(text, who=person.name, whose=f"{person.name}'s", n=amount)
        self._result(person, amount)
        self.narrator.last = person

    def _idle(self) -> None:
        rng = self.rng
        someone, friend = rng.sample(
            self.narrator.people[: COUNTED if self.narrator.chance(0.5) and self.couple else PEOPLE], 2
        )
        values = {"x": someone.name, "x2": friend.name, "n": rng.randint(2, 99), "m": rng.randint(2, 12)}
        template = rng.choice(self.words.idle)
        self.narrator.sentence(template, **values)
        self.narrator.step("Nothing changes.")
        self.narrator.joinable = False
        if "{x}" in template:
            self.narrator.last = None

    def _result(self, person: Person, amount: int) -> None:
        """Let a step say the new amount, and behind it everybody's, so that all amounts stand close by.

        A name leads a line, as it does in the sums: elsewhere it is another token, which is hardly found again.
        """
        self.amounts[person] = amount
        self.narrator.step(f"{amount}:\n" + ",\n".join(f"{who.name} {n}" for who, n in self.amounts.items()) + ".")

    def _transfer(self, giver: Person | None, to: Person | None, n: int) -> None:
        """Take things from one and add them to the other, who may be nobody or not counted."""
        self.narrator.step("Give." if giver and to else "Take." if giver else "Add.")
        for person, sign in ((giver, -1), (to, 1)):
            if person in self.amounts:
                x = self.amounts[person]
                self.narrator.step(f"{person.name} {x} {'+' if sign > 0 else '-'} {n}.")
                self._result(person, x + sign * n)
            elif person:
                self.narrator.step("Not counted.")

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
        receiver = to if kind == "give" else None
        passing = self.narrator.clause(
            self._wording(kind), person, receiver, n=self.narrator.number(n, _NUMBER_AS_WORD)
        )
        if kind == "gain":
            self._transfer(passing, person, n)
        else:
            self._transfer(person, receiver or passing, n)

    def _scale(self, kind: Literal["times", "share"], person: Person) -> None:
        rng, x = self.rng, self.amounts[person]
        if kind == "times":
            m = rng.choice([m for m in _FACTORS if m * x <= LARGEST])
            special = self.words.factors.get(m, ()) if self.narrator.chance(0.6) else ()
            template = self.narrator.pick(special or self.words.wordings[kind])
            self.narrator.clause(template, person, m=self.narrator.number(m, _FACTOR_AS_WORD))
            self.narrator.step("Multiply.")
            self.narrator.step(f"{person.name} {x} * {m}.")
            self._result(person, m * x)
            return
        m = rng.choice([m for m in _SHARES if x % m == 0])
        wordings = tuple(text for text in self.words.wordings[kind] if "{part}" not in text or m in PARTS)
        part = rng.choice(PARTS.get(m, ("",)))
        self.narrator.clause(
            self.narrator.pick(wordings), person, m=self.narrator.number(m, _FACTOR_AS_WORD), part=part
        )
        self.narrator.step("Divide.")
        self.narrator.step(f"{person.name} {x} / {m}.")
        self._result(person, x // m)

    def _part(self, kind: Literal["part", "give part"], person: Person, to: Person | None) -> None:
        x = self.amounts[person]
        receiver = to if kind == "give part" else None
        room = LARGEST - self.amounts[receiver] if receiver else x
        m = self.rng.choice([m for m in PARTS if x % m == 0 and x > m and x // m <= room])
        passing = self.narrator.clause(self._wording(kind), person, receiver, part=self.rng.choice(PARTS[m]))
        self.narrator.step("Part.")
        self.narrator.step(f"{person.name} {x} / {m}.")
        self.narrator.step(f"{x // m} in it.")
        self._transfer(person, receiver or passing, x // m)

    def _swap(self, person: Person, to: Person | None) -> None:
        assert to is not None
        self.narrator.clause(self._wording("swap"), person, to)
        self.narrator.step("Swap.")
        # Each of the two amounts leads a step of its own.
        (one, x), (two, y) = self.amounts.items()
        self.narrator.step(f"{y} for {one.name}.")
        self.amounts[one] = y
        self._result(two, x)

    def _packs(self, person: Person) -> None:
        m = self.rng.choice(_FACTORS)
        n = self.rng.randint(2, min(60, (LARGEST - self.amounts[person]) // m))
        passing = self.narrator.clause(self._wording("packs"), person, m=self.narrator.number(m, _FACTOR_AS_WORD), n=n)
        self.narrator.step("Packs.")
        self.narrator.step(f"{m} * {n}.")
        self.narrator.step(f"{m * n} in all.")
        self._transfer(passing, person, m * n)

    def _wording(self, kind: Kind) -> str:
        return self.narrator.pick(self.words.wordings[kind])

    def _compare(self, known: Person) -> None:
        """Bring in the second person: with more, fewer, or a multiple of what the first one has."""
        rng, words, x = self.rng, self.words, self.amounts[known]
        new = self.narrator.people[1]
        factors = [m for m in _FACTORS if m * x <= LARGEST]
        ways = (
            ["more"] * (x + _FEWEST <= LARGEST)
            + ["fewer"] * (x > _FEWEST)
            + ["multiple"] * bool(factors)
            + ["half"] * (x % 2 == 0)
        )
        way = rng.choice(ways)
        self.narrator.last = None
        if way in {"more", "fewer"}:
            n = self._some(LARGEST - x if way == "more" else x - 1)
            self.narrator.clause(
                self.narrator.pick(words.more if way == "more" else words.fewer),
                new,
                known,
                n=self.narrator.number(n, _NUMBER_AS_WORD),
            )
            self.narrator.step(f"{way.capitalize()}.")
            self.narrator.step(f"{known.name} {x} {'+' if way == 'more' else '-'} {n}.")
            amount = x + n if way == "more" else x - n
        elif way == "half":
            self.narrator.clause(self.narrator.pick(words.half), new, known)
            self.narrator.step("Half.")
            self.narrator.step(f"{known.name} {x} / 2.")
            amount = x // 2
        else:
            m = rng.choice(factors)
            twice = m == min(_FACTORS) and self.narrator.chance(0.7)
            self.narrator.clause(
                self.narrator.pick(words.twice if twice else words.multiple),
                new,
                known,
                m=self.narrator.number(m, _FACTOR_AS_WORD),
            )
            self.narrator.step("Multiple.")
            self.narrator.step(f"{known.name} {x} * {m}.")
            amount = m * x
        self.narrator.joinable = False
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
        templates = {"one": words.ask_one, "both": words.ask_both, "difference": words.ask_difference}[way]
        her = to is None and self.narrator.is_clear(person) and self.narrator.chance(0.4)
        who = ("she" if person.girl else "he") if her else person.name
        values = {"who": who, "whose": person.her if her else f"{person.name}'s"}
        if to:
            values |= {"to": to.name, "tos": f"{to.name}'s"}
        self.narrator.sentence(self.narrator.pick(templates), **values)
        if way == "one":
            self.narrator.step("Asked.")
            self.narrator.step(f"{person.name} {x}.")
            return x, f"In the end {person.name} has \\boxed{{{x}}} {self.narrator.things}."
        if way == "both":
            # In the order of the steps before: the question says nothing about it.
            (person, x), (_, y) = self.amounts.items()
            self.narrator.step("Together.")
            self.narrator.step(f"{person.name} {x} + {y}.")
            self.narrator.step(f"{x + y} together.")
            return x + y, f"Together they have \\boxed{{{x + y}}} {self.narrator.things}."
        assert to is not None
        self.narrator.step("Difference.")
        self.narrator.step(f"{person.name} {x} - {y}.")
        self.narrator.step(f"{x - y} more.")
        return x - y, f"In the end {person.name} has \\boxed{{{x - y}}} {self.narrator.things} more than {to.name}."
