"""Counting stories: a question, the thought that solves it step by step, and the answer.

One or two holders (people, a shop, places) own some things; events change the amounts; at the end one amount, the sum,
the difference or the one who has more is asked for. Knows nothing of tokens or models. The same seed gives the same
stories everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from training.narrator import COUNTED, HOLDERS, Holder, Narrator, StoryKind, Style
from training.sums import LARGEST, BrokenSum, Question, work_out
from training.wordings import Kind, Wordings
from training.words import GROUPS, PARTS, Nouns

EVENTS, WIDE_EVENTS = (2, 6), (2, 8)

_WEIGHTS: dict[Kind, float] = {
    "gain": 3,
    "loss": 3.5,
    "times": 1.5,
    "share": 1.5,
    "give": 5,
    "part": 1.5,
    "give part": 2,
    "swap": 1,
    "packs": 1.5,
    "hand out": 1.2,
    "compare": 4,
}
_FACTORS = range(2, 10)
_SHARES = range(2, 11)
_ROOM_FOR_PACKS = 20
_FEWEST = 2
"""Things are gained and lost in the plural, mostly."""
_SINGLE = 0.06
_IN_ONE = 3
"""More events than these are never told in one sentence."""
_LONELY = ("shop", "me")
"""Holders whose stories rarely have a second one who is counted."""
CANNOT_SAY = "I can only say how many there are in the end, together, more, or for each."


def tell(
    rng: Random,
    nouns: Nouns,
    wordings: Wordings,
    *,
    events: tuple[int, int] = EVENTS,
    style: Style | None = None,
    idle: float = 0.14,
    broken: float = 0.0,
) -> Question:
    """Make up one story; with the probability `broken`, one in which somebody loses more than there is."""
    return _Teller(rng, nouns, wordings, style or random_style(rng), idle, broken).tell(rng.randint(*events))


def random_style(
    rng: Random,
    *,
    made_up: float = 0.0,
    unknown_verbs: float = 0.0,
    is_wide: bool = False,
    is_broad: bool = False,
) -> Style:
    """Choose how a story is told."""
    return Style(
        is_past=rng.random() < 0.35,
        is_lower=rng.random() < 0.08,
        is_plain=rng.random() < 0.25,
        in_one=rng.random() < (0.12 if is_broad else 0.05),
        tails=rng.choice([0.0, 0.0, 0.1, 0.3]),
        made_up=made_up,
        unknown_verbs=unknown_verbs,
        is_wide=is_wide,
        is_broad=is_broad,
    )


def beginning(sentence: str) -> str:
    """Return the words of a sentence that stand at the end of the quote before it: those up to its first number.

    The next quote begins with them, which tells sentences apart that begin alike.
    """
    number = re.search(r"\d+", sentence)
    return sentence[: number.end()] if number else sentence


@dataclass
class _Teller:
    """One story while it is made up."""

    rng: Random
    nouns: Nouns
    wordings: Wordings
    style: Style
    idle: float
    broken: float
    kinds: list[Kind] = field(default_factory=list)

    def __post_init__(self) -> None:
        kinds: list[StoryKind] = ["people", "me", "shop", "place"]
        kind = self.rng.choices(kinds, [0.68, 0.08, 0.08, 0.16])[0]
        self.narrator = Narrator(self.rng, self.nouns, self.wordings, self.style, kind)
        self.is_place = kind == "place"
        # Two are counted, or only one; the others pass by.
        places = 0.35 if self.style.is_wide else 0.0
        self.couple = self.narrator.chance(0.2 if kind in _LONELY else places if self.is_place else 0.62)
        self.amounts: dict[Holder, int] = {}
        self.is_broken = self.narrator.chance(self.broken)

    def tell(self, events: int) -> Question:
        self.in_one = self.style.in_one and events <= _IN_ONE
        try:
            if self.wordings.groups and self.narrator.chance(0.03):
                boxed, answer = self._groups()
            else:
                self._begin()
                while len(self.kinds) < events:
                    if self.narrator.chance(self.idle):
                        self._idle()
                    else:
                        self._event()
                boxed, answer = self._ask()
        except BrokenSum as broken:
            boxed, answer = None, str(broken)
            if self.narrator.chance(0.7):  # the question is there to be read, not reached
                self._ask_anyway()
        if self.in_one:
            self._join()
        parts = self.narrator.parts
        following = [f" {beginning(sentence)}" for sentence, _ in parts[1:]]
        read: list[str] = []
        for (sentence, led_to), ahead in zip(parts, [*following, ""], strict=True):
            read += [f"> {sentence}{ahead}", *led_to]
            if led_to and led_to[-1] in BrokenSum.RESULTS:
                break
        question = " ".join(sentence for sentence, _ in parts)
        return Question(question, (f"Count: {self.narrator.things}.", *read), answer, boxed, tuple(self.kinds))

    def _join(self) -> None:
        """Tell everything in one sentence, as people type."""
        *told, (question, asked) = self.narrator.parts
        names = {word for holder in self.narrator.holders for word in holder.name.split()}

        def inside(text: str) -> str:
            return (
                text
                if text.split(maxsplit=1)[0].rstrip(",") in names or text.startswith("I ")
                else text[0].lower() + text[1:]
            )

        text = told[0][0].rstrip(".")
        is_if = self.style.is_broad and self.narrator.chance(0.3)
        if is_if:
            text = f"If {inside(text)}"
        for sentence, _ in told[1:]:
            text += self.rng.choice([", ", " and ", ", then ", ", and "]) + inside(sentence.rstrip("."))
        text += (", " if is_if else self.rng.choice([", ", ", ", ". ", " - "])) + (
            question if text.endswith(". ") else inside(question)
        )
        self.narrator.parts = [(text, [step for _, steps in told for step in steps] + asked)]

    def _begin(self) -> None:
        rng, (one, two) = self.rng, self.narrator.holders[:COUNTED]
        words, first, second = self.wordings, self._amount(), self._amount()
        if words.start_sum and not self.is_place and self.narrator.chance(0.06):
            self._start_sum(one)
        elif self.narrator.chance(0.06) and not self.is_place:
            self._start_packs(one)
        elif not self.couple or self.narrator.chance(0.35):  # the second one comes in by a comparison
            self._start(one, first)
            self.couple = self.couple and not self.is_place
        elif self.is_place:
            a, b = (f"{place.preposition} {self._article()} {place.name}" for place in (one, two))
            self.narrator.sentence(rng.choice(words.start_places), at=a, at2=b, n=first, m=second)
            self._set(one, first)
            self._started(two, second)
        elif self.narrator.chance(0.5):
            values = {"who": self._first_mention(one), "to": two.object, "n": first, "m": second}
            self.narrator.sentence(rng.choice(words.start_both), one, **values)
            self._set(one, first)
            self._started(two, second)
            self.narrator.last = None
        else:
            self._start(one, first)
            self._start(two, second)

    def _article(self) -> str:
        return self.rng.choice(["a", "a", "the"])

    def _first_mention(self, holder: Holder) -> str:
        return f"{self._article()} {holder.name}" if holder.article == "the" else holder.subject

    def _amount(self) -> int:
        return self.rng.randint(2, self.rng.choice([20, 99, 99, 400]))

    def _start(self, holder: Holder, amount: int) -> None:
        narrator, templates = self.narrator, self.wordings.start_place if self.is_place else self.wordings.start
        template = narrator.pick(templates)
        place = f"{holder.preposition} {self._article()} {holder.name}"
        someone = self.rng.choice(narrator.holders[COUNTED:])
        subject = someone if template.startswith("{rel}") else holder
        her = holder.pronouns[2]
        values = {"who": self._first_mention(holder), "at": place, "into": place, "rel": someone.subject, "her": her}
        narrator.sentence(template, subject, **values, n=narrator.number(amount))
        self._started(holder, amount)
        narrator.last = None if self.is_place else holder

    def _start_packs(self, holder: Holder) -> None:
        m, n = self.rng.choice(_FACTORS), self.rng.randint(2, 60)
        narrator = self.narrator
        narrator.sentence(
            narrator.pick(self.wordings.start_packs), holder, who=self._first_mention(holder), m=narrator.number(m), n=n
        )
        self._work_out("Packs", None, m, "*", n)
        self._set(holder, m * n)
        self._now()
        narrator.last = holder

    def _start_sum(self, holder: Holder) -> None:
        n, m = self._some(LARGEST // 2), self._some(LARGEST // 2)
        narrator = self.narrator
        template = narrator.pick(self.wordings.start_sum)
        narrator.sentence(template, holder, who=self._first_mention(holder), n=narrator.number(n), m=narrator.number(m))
        self._set(holder, self._work_out("Both", None, n, "+", m))
        self._now()
        narrator.last = holder

    def _groups(self) -> tuple[str | None, str]:
        """Tell of several who have the same number each, and ask for all of it."""
        narrator, m, n = self.narrator, self.rng.choice(_SHARES), self.rng.randint(2, 60)
        group = self.rng.choice([*GROUPS, *narrator.nouns.crowds])
        narrator.sentence(self.rng.choice(self.wordings.groups), None, m=narrator.number(m), n=n, group=group)
        total = self._work_out("Packs", None, m, "*", n)
        narrator.step(f"Now: {group} {total}.")
        narrator.question(self.rng.choice(self.wordings.ask_groups), None)
        narrator.step(f"Asked: {group} {total}.")
        return str(total), f"Together they have \\boxed{{{total}}} {narrator.things}."

    def _started(self, holder: Holder, amount: int) -> None:
        self._set(holder, amount)
        self.narrator.step(f"Start: {self._state()}.")

    def _set(self, holder: Holder, amount: int) -> None:
        self.amounts[holder] = amount

    def _state(self) -> str:
        return ", ".join(f"{holder.name} {n}" for holder, n in self.amounts.items())

    def _now(self) -> None:
        """Let a step say everybody's amount, so that all of them stand close by."""
        self.narrator.step(f"Now: {self._state()}.")

    def _work_out(self, keyword: str, holder: Holder | None, x: int, sign: str, y: int) -> int:
        """Let one step say what to reckon and the next one what comes out; raises BrokenSum if nothing does."""
        name = f"{holder.name} " if holder else ""
        self.narrator.step(f"{keyword}: {name}{x} {sign} {y}.")
        try:
            result = work_out(x, sign, y)
        except BrokenSum as broken:
            self.narrator.step(broken.result)
            raise
        self.narrator.step(f"{result}.")
        return result

    def _idle(self) -> None:
        rng, narrator = self.rng, self.narrator
        passing = narrator.holders[COUNTED:] if narrator.kind != "people" else narrator.holders[:HOLDERS]
        if narrator.chance(0.5) and self.couple and narrator.kind == "people":
            passing = narrator.holders[:COUNTED]
        someone, friend = rng.sample(passing, 2)
        values = {"x": someone.subject, "x2": friend.subject, "n": rng.randint(2, 99), "m": rng.randint(2, 12)}
        template = rng.choice(self.wordings.idle)
        narrator.sentence(template, None, **values)
        narrator.step("Nothing.")
        narrator.joinable = False
        if "{x}" in template:
            narrator.last = None

    def _transfer(self, giver: Holder | None, to: Holder | None, n: int) -> None:
        """Take things from one and add them to the other, who may be nobody or not counted."""
        counted = [(holder, sign) for holder, sign in ((giver, "-"), (to, "+")) if holder in self.amounts]
        for place, (holder, sign) in enumerate(counted):
            keyword = "Give" if len(counted) == COUNTED else "Take" if sign == "-" else "Add"
            assert holder is not None
            if place:
                assert giver is not None
                keyword = f"Then: {giver.name} {self.amounts[giver]}, {holder.name} {self.amounts[holder]} {sign} {n}."
                self.narrator.step(keyword)
                self._set(holder, work_out(self.amounts[holder], sign, n))
                self.narrator.step(f"{self.amounts[holder]}.")
            else:
                self._set(holder, self._work_out(keyword, holder, self.amounts[holder], sign, n))
        self._now()

    def _some(self, most: int) -> int:
        return self.rng.randint(_FEWEST, min(most, self.rng.choice([20, 60, 60, 300])))

    def _event(self) -> None:
        """Add one event that is possible here."""
        holder = self.rng.choice(list(self.amounts))
        to = next((other for other in self.amounts if other != holder), None)
        kinds = self._possible(holder, to)
        if not kinds:  # nothing is left to lose, and there is no room to gain
            kinds = ["gain"]
        kind = self.rng.choices(kinds, [_WEIGHTS[kind] for kind in kinds])[0]
        self.kinds.append(kind)
        match kind:
            case "gain" | "loss" | "give":
                self._move(kind, holder, to)
            case "times" | "share":
                self._scale(kind, holder)
            case "part" | "give part":
                self._part(kind, holder, to)
            case "swap":
                self._swap(holder, to)
            case "packs":
                self._packs(holder)
            case "hand out":
                self._hand_out(holder)
            case "compare":
                self._compare(holder)

    def _possible(self, holder: Holder, to: Holder | None) -> list[Kind]:
        x = self.amounts[holder]
        room, room_to = LARGEST - x, LARGEST - self.amounts[to] if to else 0
        parts = [m for m in PARTS if x % m == 0 and x > m]
        possible: dict[Kind, bool] = {
            "gain": room >= _FEWEST,
            "loss": x >= _FEWEST,
            "times": 0 < x + x <= LARGEST,
            "share": any(x % m == 0 for m in _SHARES) and x > max(_SHARES),
            "give": min(x - 1, room_to) >= _FEWEST,
            "part": bool(parts),
            "give part": any(x // m <= room_to for m in parts),
            "swap": to is not None,
            "packs": room >= _ROOM_FOR_PACKS,
            "hand out": x >= _ROOM_FOR_PACKS,
            "compare": self.couple and to is None and x > 1,
        }
        words = self.wordings.at_places if self.is_place else self.wordings.events
        return [kind for kind, can in possible.items() if can and (kind == "compare" or words.get(kind))]

    def _wording(self, kind: Kind) -> str:
        return self.narrator.pick((self.wordings.at_places if self.is_place else self.wordings.events)[kind])

    def _move(self, kind: Literal["gain", "loss", "give"], holder: Holder, to: Holder | None) -> None:
        x = self.amounts[holder]
        most = LARGEST - x if kind == "gain" else x if kind == "loss" else x - 1
        if kind == "give":
            assert to is not None
            most = min(most, LARGEST - self.amounts[to])
        n = self._some(most)
        if self.is_broken and kind == "loss" and x < LARGEST:
            n = x + self.rng.randint(1, min(60, LARGEST - x))
        receiver = to if kind == "give" else None
        template = self._wording(kind)
        if not template.startswith("{n}") and most and self.narrator.chance(_SINGLE):
            n = 1
        passing = self.narrator.clause(template, holder, receiver, n=self.narrator.number(n))
        if kind == "gain":
            self._transfer(passing, holder, n)
        else:
            self._transfer(holder, receiver or passing, n)

    def _scale(self, kind: Literal["times", "share"], holder: Holder) -> None:
        rng, x = self.rng, self.amounts[holder]
        if kind == "times":
            m = rng.choice([m for m in _FACTORS if m * x <= LARGEST])
            special = () if self.is_place else self.wordings.factors.get(m, ())
            template = self.narrator.pick(special if special and self.narrator.chance(0.6) else self._all(kind))
            self.narrator.clause(template, holder, m=self.narrator.number(m))
            self._set(holder, self._work_out("Multiply", holder, x, "*", m))
        else:
            m = rng.choice([m for m in _SHARES if x % m == 0])
            wordings = tuple(text for text in self._all(kind) if "{part}" not in text or m in PARTS)
            part = rng.choice(PARTS.get(m, ("",)))
            self.narrator.clause(self.narrator.pick(wordings), holder, m=self.narrator.number(m), part=part)
            self._set(holder, self._work_out("Divide", holder, x, "/", m))
        self._now()

    def _all(self, kind: Kind) -> tuple[str, ...]:
        return (self.wordings.at_places if self.is_place else self.wordings.events)[kind]

    def _part(self, kind: Literal["part", "give part"], holder: Holder, to: Holder | None) -> None:
        x = self.amounts[holder]
        receiver = to if kind == "give part" else None
        room = LARGEST - self.amounts[receiver] if receiver else x
        m = self.rng.choice([m for m in PARTS if x % m == 0 and x > m and x // m <= room])
        passing = self.narrator.clause(self._wording(kind), holder, receiver, part=self.rng.choice(PARTS[m]))
        self._transfer(holder, receiver or passing, self._work_out("Part", holder, x, "/", m))

    def _swap(self, holder: Holder, to: Holder | None) -> None:
        assert to is not None
        self.narrator.clause(self._wording("swap"), holder, to)
        (one, x), (two, y) = self.amounts.items()
        self.amounts = {one: y, two: x}
        self.narrator.step(f"Swap: {self._state()}.")

    def _packs(self, holder: Holder) -> None:
        m = self.rng.choice(_FACTORS)
        n = self.rng.randint(2, min(60, (LARGEST - self.amounts[holder]) // m))
        passing = self.narrator.clause(self._wording("packs"), holder, m=self.narrator.number(m), n=n)
        self._transfer(passing, holder, self._work_out("Packs", None, m, "*", n))

    def _hand_out(self, holder: Holder) -> None:
        x, m = self.amounts[holder], self.rng.choice(_FACTORS)
        n = self.rng.randint(2, min(60, x // m))
        self.narrator.clause(self._wording("hand out"), holder, m=self.narrator.number(m), n=self.narrator.number(n))
        self._transfer(holder, None, self._work_out("Packs", None, m, "*", n))

    def _compare(self, known: Holder) -> None:
        """Bring in the second holder: with more, fewer, or a multiple of what the first one has."""
        rng, words, x = self.rng, self.wordings.compare, self.amounts[known]
        new = self.narrator.holders[1]
        factors = [m for m in _FACTORS if m * x <= LARGEST]
        way = rng.choice(
            ["more"] * (x + _FEWEST <= LARGEST)
            + ["fewer"] * (x > _FEWEST)
            + ["multiple"] * bool(factors)
            + ["half"] * (x % 2 == 0)
        )
        self.narrator.last = None
        if way in {"more", "fewer"}:
            n = self._some(LARGEST - x if way == "more" else x - 1)
            template = self.narrator.pick(words["more" if way == "more" else "fewer"])
            self.narrator.clause(template, new, known, n=self.narrator.number(n))
            amount = self._work_out(way.capitalize(), known, x, "+" if way == "more" else "-", n)
        elif way == "half":
            self.narrator.clause(self.narrator.pick(words["half"]), new, known)
            amount = self._work_out("Half", known, x, "/", 2)
        else:
            m = rng.choice(factors)
            twice = m == min(_FACTORS) and self.narrator.chance(0.7)
            template = self.narrator.pick(words["twice" if twice else "multiple"])
            self.narrator.clause(template, new, known, m=self.narrator.number(m))
            amount = self._work_out("Multiple", known, x, "*", m)
        self.narrator.joinable = False
        self._set(new, amount)
        self._now()

    def _ask_anyway(self) -> None:
        holder = next(iter(self.amounts))
        template = self.narrator.pick(self.wordings.ask["place" if self.is_place else "one"])
        self._put(template, holder, None)

    def _take_the_second_from_the_first(self) -> None:
        """Let two steps find out who has more: seen at once, that is guessed; by what is left, it is known."""
        (holder, x), (_, y) = self.amounts.items()
        self.narrator.step(f"Difference: {holder.name} {x} - {y}.")
        self.narrator.step(f"{x - y}." if x > y else BrokenSum.RESULTS[0])

    def _put(self, template: str, holder: Holder, to: Holder | None) -> None:
        """Ask a question of a holder, by a pronoun now and then."""
        is_clear = to is None and self.narrator.is_clear(holder) and self.narrator.chance(0.4)
        named = holder.subject, holder.object, holder.whose
        who, whom, whose = holder.pronouns if is_clear or holder.kind == "me" else named
        values = {"who": who, "whom": whom, "whose": whose, "at": holder.at}
        if to:
            values |= {"to": to.object, "tos": to.whose}
        self.narrator.question(template, holder, **values)

    def _share_out(self, holder: Holder, x: int, m: int) -> tuple[str, str]:
        """Let everything be given away in equal shares, and ask for one."""
        narrator = self.narrator
        who = holder.subject if holder.kind != "me" else holder.name
        template = narrator.pick(self.wordings.share_out)
        narrator.sentence(template, holder, who=who, m=narrator.number(m))
        share = self._work_out("Divide", holder, x, "/", m)
        self._put(narrator.pick(self.wordings.ask["each"]), holder, None)
        narrator.step(f"Asked: each {share}.")
        return str(share), f"So each gets \\boxed{{{share}}} {narrator.things}."

    def _ask(self) -> tuple[str | None, str]:
        """End with a question; return what belongs into the box, if anything does, and the answer."""
        rng, ask = self.rng, self.wordings.ask
        holder = rng.choice(list(self.amounts))
        x = self.amounts[holder]
        to = next((other for other in self.amounts if other != holder), None)
        y = self.amounts[to] if to else 0
        ways = ["one", "one"]
        if to and not self.is_place:
            ways += ["both"] * (x + y <= LARGEST) + ["difference"] * (x > y) + ["more"] * (x > y)
        way = rng.choice(ways)
        things = self.narrator.things
        if self.narrator.chance(0.03):
            self._put(self.narrator.pick(ask["other"]), holder, None)
            self.narrator.step("Asked: something else.")
            return None, CANNOT_SAY
        shares = [m for m in range(2, 13) if x % m == 0 and x > m]
        if to is None and not self.is_place and shares and self.narrator.chance(0.12):
            return self._share_out(holder, x, rng.choice(shares))
        if way == "one":
            # Where only one is counted, nobody need be named.
            templates = ask["place" if self.is_place else "one"]
            self._put(
                self.narrator.pick(tuple(t for t in templates if to is None or re.search(r"\{w|\{at", t))), holder, to
            )
            self.narrator.step(f"Asked: {holder.name} {x}.")
            return str(x), f"{_answering(holder)} \\boxed{{{x}}} {things}."
        assert to is not None
        self._put(self.narrator.pick(ask[way]), holder, to)  # type: ignore[index]
        if way == "both":
            # In the order of the steps before: the question says nothing about it.
            (holder, x), (_, y) = self.amounts.items()
            total = self._work_out("Together", holder, x, "+", y)
            return str(total), f"Together they have \\boxed{{{total}}} {things}."
        if way == "more":
            if not self.style.is_wide:
                self._take_the_second_from_the_first()
            self.narrator.step(f"Asked: {holder.name} {x} > {to.name} {y}.")
            return str(x), f"{_answering(holder)} more {things}: \\boxed{{{x}}}, and {to.name} {y}."
        difference = self._work_out("Difference", holder, x, "-", y)
        return str(difference), f"{_answering(holder)} \\boxed{{{difference}}} {things} more."


def _answering(holder: Holder) -> str:
    """Begin the answer; a name never leads a line, where it would be another token than elsewhere."""
    return "So you have" if holder.kind == "me" else f"So {holder.subject} has"
