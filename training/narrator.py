"""How a story is told: its holders and things, its sentences, and the steps each of them leads to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from training import invented
from training.inflection import inflect, singular
from training.told import without_verb
from training.wordings import Wordings
from training.words import ADJECTIVES, KIN, ROLES, WEEKDAYS, Nouns, in_words

COUNTED = 2
"""The first holders of a story, whose things are counted."""
HOLDERS = 4
_NAMED = 0.3
"""How often someone who only passes by has a name: whom to count must be looked up."""
_AS_WORD = 0.07
"""How often a number below 100 is a word."""
_VERB = re.compile(r"<(\w+)(?::(s?))?>")
_SUBJECT = re.compile(r"\{(who|to|rel)\}")

HolderKind = Literal["girl", "boy", "me", "shop", "place"]
StoryKind = Literal["people", "me", "shop", "place"]
"""Who the holders of a story are."""


@dataclass(frozen=True)
class Holder:
    """Whoever, or whatever, has things in a story."""

    name: str
    """As the thought writes it: Mia, I, bakery."""
    kind: HolderKind
    article: str = ""
    """What stands before the name, once the holder is known: the, my."""
    preposition: str = ""
    """Of a place."""

    @property
    def subject(self) -> str:
        """As the subject of a sentence, once it is known."""
        return f"{self.article} {self.name}" if self.article else self.name

    @property
    def object(self) -> str:
        """Behind a verb or a preposition."""
        return "me" if self.kind == "me" else self.subject

    @property
    def whose(self) -> str:
        """The possessive of the name."""
        return "my" if self.kind == "me" else f"{self.subject}'s"

    @property
    def pronouns(self) -> tuple[str, str, str]:
        """Who, whom, whose."""
        return {
            "girl": ("she", "her", "her"),
            "boy": ("he", "him", "his"),
            "me": ("I", "me", "my"),
        }.get(self.kind, ("it", "it", "its"))

    @property
    def at(self) -> str:
        """Where, for a place."""
        return f"{self.preposition} {self.subject}"


@dataclass(frozen=True)
class Style:
    """How one story is told."""

    is_past: bool = False
    is_lower: bool = False
    """Without capitals, as people type."""
    is_plain: bool = False
    """With one wording for each kind of event, so that sentences begin alike."""
    in_one: bool = False
    """In one sentence."""
    tails: float = 0.0
    """How often a sentence has a phrase at its end that says nothing."""
    made_up: float = 0.0
    """How often a name, a thing or a place is an invented word."""
    unknown_verbs: float = 0.0
    """How often the verb of an event is invented, if other words say what happens."""
    is_wide: bool = False
    """With passers-by who have names, and things that move between two places: not what the pair is tested on."""
    is_broad: bool = False
    """With what people type beside that: colours, groups, "if", a pronoun for the other, names with an accent."""


@dataclass
class Narrator:
    """The words of one story while it is made up."""

    rng: Random
    nouns: Nouns
    wordings: Wordings
    style: Style
    kind: StoryKind
    parts: list[tuple[str, list[str]]] = field(default_factory=list)
    """Each sentence with the steps it leads to."""
    last: Holder | None = None
    """Whom a pronoun would mean."""
    joinable: bool = False
    """May the next event be joined to the last sentence with "and"?"""
    astray: bool = False
    """Was the last sentence about other things, so that "more" and "of them" would mean those?"""
    eventful: bool = False
    """Has anything happened yet?"""

    def __post_init__(self) -> None:
        self._palette: dict[tuple[str, ...], str] = {}
        adjective = f"{self.rng.choice(ADJECTIVES)} " if self.chance(0.06) else ""
        countable = self.nouns.crowds if self.kind == "place" and self.chance(0.3) else self.nouns.things
        self.things = adjective + self._noun(countable, invented.thing)
        self.other = self._noun(self.nouns.things, invented.thing)
        while self.other == self.things:
            self.other = self._noun(self.nouns.things, invented.thing)
        self.holders: list[Holder] = []
        while len(self.holders) < HOLDERS:
            holder = self._holder(len(self.holders))
            if holder.name not in {other.name for other in self.holders}:
                self.holders.append(holder)

    def _holder(self, index: int) -> Holder:
        if index < COUNTED and self.kind == "place":
            preposition, _, noun = self.rng.choice(self.nouns.places).partition(" ")
            return Holder(
                invented.place(self.rng) if self.chance(self.style.made_up) else noun, "place", "the", preposition
            )
        if index == 0 and self.kind == "shop":
            return Holder(self._noun(self.nouns.shops, invented.place), "shop", "the")
        if index == 0 and self.kind == "me":
            return Holder(self._cased("I"), "me")
        if self.chance(0.1):
            article, nouns = ("my", KIN) if self.chance(0.4) else ("the", ROLES)
            name = self.rng.choice([*nouns])
            return Holder(name, "girl" if nouns[name] == "girl" else "boy", article)
        if self.style.is_broad and self.chance(0.05):
            return Holder(self._cased(invented.odd_name(self.rng)), "girl" if self.chance(0.5) else "boy")
        is_girl = self.chance(0.5)
        name = self._noun(self.nouns.girls if is_girl else self.nouns.boys, invented.name)
        return Holder(self._cased(name), "girl" if is_girl else "boy")

    def _noun(self, nouns: tuple[str, ...], invent: object) -> str:
        if self.chance(self.style.made_up):
            assert callable(invent)
            return str(invent(self.rng))
        return self.rng.choice(nouns)

    def _cased(self, text: str) -> str:
        return text.lower() if self.style.is_lower else text

    def chance(self, probability: float) -> bool:
        """Toss a coin."""
        return self.rng.random() < probability

    def number(self, n: int) -> str:
        """Return a number in digits or, now and then, as a word."""
        most = 12 if self.chance(0.8) else 99
        return in_words(n) if 2 <= n <= most and self.chance(_AS_WORD if n > 12 else 3 * _AS_WORD) else str(n)

    def sentence(self, template: str, subject: Holder | None = None, **values: object) -> None:
        """Fill a wording and begin it with a capital letter."""
        text = self._filled(template, subject, values)
        text = text.lower() if self.style.is_lower else text[0].upper() + text[1:]
        self.parts.append((text, []))
        self.astray = "{other}" in template

    def _filled(
        self, template: str, subject: Holder | None, values: dict[str, object], *, is_past: bool | None = None
    ) -> str:
        """Fill in words and verb forms; `subject` is what verbs without a mark agree with."""
        is_past = self.style.is_past if is_past is None else is_past
        if self.style.is_broad:
            template = re.sub(r"\bV\b", lambda _: invented.verb(self.rng), template)

        def form(match: re.Match[str]) -> str:
            is_third = subject is None or subject.kind != "me" if match[2] is None else match[2] == "s"
            return inflect(match[1], is_past=is_past, is_third=is_third)

        words = {
            "things": self.things,
            "other": self.other,
            "day": self.rng.choice(WEEKDAYS),
            "place": invented.place(self.rng) if self.chance(0.3) else self.rng.choice(self.nouns.places).split()[1],
        }
        if "odd}" in template:
            words["odd"] = invented.syllables(self.rng, 2)
        return self._in_the_singular(_VERB.sub(form, template).format(**{**words, **values}))

    def _in_the_singular(self, text: str) -> str:
        """Let there be one thing if the number says so: 1 marble, one marble, a marble."""
        one = singular(self.things)
        article = "an" if one[0] in "aeiou" else "a"
        number = self.rng.choice(["1", "1", "one", article])
        text = text.replace(f" 1 {self.things}", f" {number} {one}").replace(f" 1 more {self.things}", f" 1 more {one}")
        return text.replace(" 1 ", " one ") if self.chance(0.3) else text

    def pick(self, templates: tuple[str, ...]) -> str:
        """Choose a wording that fits here; a plain story has one for each kind."""
        fitting = [text for text in templates if "{things}" in text or not self.astray] or [*templates]
        if not self.style.is_plain:
            return self.rng.choice(fitting)
        if self._palette.get(templates) not in fitting:
            self._palette[templates] = self.rng.choice(fitting)
        return self._palette[templates]

    def step(self, text: str) -> None:
        """Add a step to those the last sentence leads to."""
        self.parts[-1][1].append(text)

    def clause(self, template: str, holder: Holder, to: Holder | None = None, **values: object) -> Holder | None:
        """Add a sentence about a holder's event: with a name or a pronoun, alone or joined to the last one.

        Returns whoever in it only passes by, if there is one who has a name.
        """
        rng = self.rng
        beginnings = ("{who} ", "{n} <", "{n} more <") if self.style.is_broad else ("{who} ",)
        leads = template.startswith(beginnings) and not template.startswith("{who} and ")
        again = self.last == holder
        passing = rng.choice(self.holders[COUNTED:]) if self._passes(template) else None
        pronoun = holder.kind == "me" or (self.is_clear(holder, to, passing) and self.chance(0.5))
        who, whom, whose = holder.pronouns if pronoun else (holder.subject, holder.object, holder.whose)
        fill: dict[str, object] = {
            "who": self._cased(who),
            "whom": whom,
            "whose": whose,
            "her": holder.pronouns[2],
            "at": holder.at,
            "from": f"{'off' if holder.preposition == 'on' and self.chance(0.3) else 'from'} {holder.subject}",
            "into": f"{holder.preposition}{'to' if self.chance(0.5) else ''} {holder.subject}",
            **values,
        }
        if to is not None:
            leading = template.startswith("{to}")
            spoken = to.subject if leading else to.object
            if self.style.is_broad and not leading and not pronoun and self._is_the_other(to, holder):
                spoken = to.pronouns[1]
            fill |= {"to": spoken, "tos": to.whose, "into2": f"to {to.subject}"}
        if "{rel}" in template:
            relation = rng.choice(self.wordings.relations).replace("{her}", holder.pronouns[2])
            if "{odd}" in relation:
                relation = relation.replace("{odd}", invented.syllables(rng, 2))
            if holder.kind in {"shop", "place"}:
                relation = re.sub(r"^its (?=[au])", "an ", relation).replace("its ", "a ")
            fill["rel"] = passing.subject if passing else relation
        found = _SUBJECT.match(template)
        subject = to if found and found[1] == "to" else None if found and found[1] == "rel" else holder
        template = self._with_unknown_verb(template)
        if self.chance(self.style.tails):
            template = f"{template} {rng.choice(self.wordings.tails)}"
        if leads and self.joinable and self.chance(0.3 if again or template.startswith("{n}") else 0.1):
            joint = rng.choice([" and ", " and ", " and then ", ", then "])
            sentence, steps = self.parts[-1]
            rest = self._filled(template.removeprefix("{who} ") if again else template, subject, fill)
            self.parts[-1] = (f"{sentence[:-1]}{joint}{self._cased(rest)}.", steps)
            self.joinable = False
        else:
            when = f"{rng.choice(self.wordings.when)} " if self.eventful and self.chance(0.3) else ""
            self.sentence(f"{when}{template}.", subject, **fill)
            self.joinable = leads
        self.eventful = True
        if template.startswith("{to}"):
            self.last = to
        else:
            self.last = None if template.startswith("{rel}") or "{who}" not in template else holder
        return passing

    def _passes(self, template: str) -> bool:
        """Has whoever passes by in an event a name?"""
        return "{rel}" in template and self.style.is_wide and self.chance(_NAMED)

    def _with_unknown_verb(self, template: str) -> str:
        """Put an invented verb in, if "more" or "of the" says what happens all the same."""
        if self.style.is_broad:
            without = without_verb(template)
            return without if without is not None and self.chance(self.style.unknown_verbs) else template
        told = re.fullmatch(r"\{who\} <\w+>( \w+)?( \{n\} more.*| \{n\} of .*| \{part\} of .*)", template)
        if told is None or "{to}" in template or " left" in template or not self.chance(self.style.unknown_verbs):
            return template
        return f"{{who}} <{invented.verb(self.rng)}>{told[2]}"

    def question(self, template: str, subject: Holder | None, **values: object) -> None:
        """End the story with a question, of which a past story may ask in the present."""
        is_past = self.style.is_past and self.chance(0.4)
        text = self._filled(template, subject, values, is_past=is_past)
        self.parts.append((self._cased(text), []))
        if self.chance(0.04):
            sentence, steps = self.parts[-1]
            self.parts[-1] = (sentence.removesuffix("?"), steps)

    def is_clear(self, holder: Holder, *others: Holder | None) -> bool:
        """Would a pronoun mean this holder, whoever else is named in its sentence and the last one?"""
        named = self._named()
        return self.last == holder and not any(
            other is not None and other != holder and other.pronouns == holder.pronouns for other in (*named, *others)
        )

    def _named(self) -> list[Holder]:
        """Return the holders the last sentence names."""
        text = self.parts[-1][0]
        return [holder for holder in self.holders if re.search(rf"\b{re.escape(holder.name)}\b", text)]

    def _is_the_other(self, to: Holder, holder: Holder) -> bool:
        """May "him" or "her" mean `to` in a sentence that names `holder`?"""
        alike = [other for other in (*self._named(), holder) if other.pronouns == to.pronouns and other != to]
        return to.kind in {"girl", "boy"} and to in self._named() and not alike and self.chance(0.3)
