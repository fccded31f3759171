"""How a story is told: its names and things, its sentences, and the steps each of them leads to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random

from training.words import NUMBER_WORDS, Words

COUNTED = 2
"""The first people of a story, whose things are counted."""
PEOPLE = 4
_NAMED = 0.3
"""How often someone who only passes by has a name: whom to count must be looked up."""


@dataclass(frozen=True)
class Person:
    """Somebody in a story."""

    name: str
    girl: bool

    @property
    def her(self) -> str:
        """The possessive pronoun."""
        return "her" if self.girl else "his"


@dataclass
class Narrator:
    """The words of one story while it is made up."""

    rng: Random
    words: Words
    parts: list[tuple[str, list[str]]] = field(default_factory=list)
    """Each sentence with the steps it leads to."""
    last: Person | None = None
    """Whom a pronoun would mean."""
    joinable: bool = False
    """May the next event be joined to the last sentence with "and"?"""
    astray: bool = False
    """Was the last sentence about other things, so that "more" and "of them" would mean those?"""
    eventful: bool = False
    """Has anything happened yet?"""

    def __post_init__(self) -> None:
        rng = self.rng
        self.things = rng.choice(self.words.things)
        self.other = rng.choice([thing for thing in self.words.things if thing != self.things])
        self.people: list[Person] = []
        while len(self.people) < PEOPLE:
            girl = self.chance(0.5)
            name = rng.choice(self.words.girls if girl else self.words.boys)
            if name not in {person.name for person in self.people}:
                self.people.append(Person(name, girl))

    def chance(self, probability: float) -> bool:
        """Toss a coin."""
        return self.rng.random() < probability

    def sentence(self, template: str, **values: object) -> None:
        """Fill a wording and begin it with a capital letter."""
        text = template.format(**{"things": self.things, "other": self.other, **values})
        self.parts.append((text[0].upper() + text[1:], []))
        self.astray = "{other}" in template

    def pick(self, templates: tuple[str, ...]) -> str:
        """Choose a wording that fits here."""
        return self.rng.choice([text for text in templates if "{things}" in text or not self.astray])

    def step(self, text: str) -> None:
        """Add a step to those the last sentence leads to."""
        self.parts[-1][1].append(text)

    def number(self, n: int, often: float) -> str:
        """Give a number in digits or, with probability `often` if it has one, as a word."""
        return NUMBER_WORDS[n] if n in NUMBER_WORDS and self.chance(often) else str(n)

    def clause(self, template: str, person: Person, to: Person | None = None, **values: object) -> Person | None:
        """Add a sentence about a person's event: with a name or a pronoun, alone or joined to the last one.

        Gives the person in it who only passes by, if there is one and has a name.
        """
        rng = self.rng
        leads = template.startswith("{who} ") and not template.startswith("{who} and ")
        again = self.last == person
        passing = rng.choice(self.people[COUNTED:]) if "{rel}" in template and self.chance(_NAMED) else None
        pronoun = self.is_clear(person, to, passing) and self.chance(0.5)
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
            fill["rel"] = passing.name if passing else relation
        if leads and self.joinable and self.chance(0.3 if again else 0.1):
            joint = rng.choice([" and ", " and ", " and then ", ", then "])
            sentence, steps = self.parts[-1]
            joined = f"{sentence[:-1]}{joint}{(template.removeprefix('{who} ') if again else template).format(**fill)}."
            self.parts[-1] = (joined, steps)
            self.joinable = False
        elif self.eventful and self.chance(0.3):
            self.sentence(f"{rng.choice(self.words.when)} {template}.", **fill)
            self.joinable = leads
        else:
            self.sentence(f"{template}.", **fill)
            self.joinable = leads
        self.eventful = True
        if template.startswith("{to}"):
            self.last = to
        else:
            self.last = None if template.startswith("{rel}") else person
        return passing

    def is_clear(self, person: Person, *others: Person | None) -> bool:
        """Would a pronoun mean this person, whoever else is named in its sentence and the last one?"""
        named = [other for other in self.people if other.name in re.findall(r"\w+", self.parts[-1][0])]
        return self.last == person and not any(
            other is not None and other != person and other.girl == person.girl for other in (*named, *others)
        )
