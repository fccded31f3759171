"""How the stories say what happens: the wordings the models learn.

A wording is a `str.format` template, with verbs in angle brackets that take the story's tense and their subject's form.
It may use:

- `{who}`, `{whom}`, `{whose}`: the holder it is about; a name, or a pronoun if the story allows one.
- `{her}`: that holder's possessive pronoun, after the holder was named in the sentence.
- `{to}`, `{tos}`: the second holder and that one's possessive.
- `{at}`: a place with its preposition; `{from}`, `{into}`: the same, for what leaves it and what is put there.
- `{rel}`: somebody whose amount is not counted.
- `{n}`, `{m}`: numbers; `{part}`: a part of a whole ("a third", "25%"); `{things}`: what is counted.
- `{x}`, `{other}`: any name, any other thing.

Wordings that begin with `{who}` can be joined to the sentence before ("Mia finds 17 and loses 5 of them").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["gain", "loss", "times", "share", "give", "part", "give part", "swap", "packs", "hand out", "compare"]
KINDS: tuple[Kind, ...] = (
    "gain",
    "loss",
    "times",
    "share",
    "give",
    "part",
    "give part",
    "swap",
    "packs",
    "hand out",
    "compare",
)


@dataclass(frozen=True)
class Wordings:
    """One set of wordings."""

    relations: tuple[str, ...]
    """Somebody whose amount is not counted; `{her}` is the possessive of the holder it happens to."""
    when: tuple[str, ...]
    """What a sentence may begin with."""
    tails: tuple[str, ...]
    """What a sentence may end with."""
    start: tuple[str, ...]
    start_both: tuple[str, ...]
    start_packs: tuple[str, ...]
    events: dict[Kind, tuple[str, ...]]
    at_places: dict[Kind, tuple[str, ...]]
    """Events at a place, which does nothing itself."""
    factors: dict[int, tuple[str, ...]]
    """Wordings of `times` for one factor only."""
    compare: dict[Literal["more", "fewer", "multiple", "twice", "half"], tuple[str, ...]]
    """How `{who}` compares with `{to}`."""
    idle: tuple[str, ...]
    """Sentences that change nothing."""
    ask: dict[Literal["one", "place", "both", "difference", "more", "each", "other"], tuple[str, ...]]
    """What is asked for; "other" is what the models cannot say."""
    share_out: tuple[str, ...]
    """How `{who}` gives everything away in `{m}` equal shares."""
    start_place: tuple[str, ...]
    start_places: tuple[str, ...]
    start_sum: tuple[str, ...] = ()
    """How `{who}` has `{n}` and `{m}` {things} of two sorts."""
    groups: tuple[str, ...] = ()
    """How each of `{m}` {group} has `{n}` {things}: with the question, the whole story."""
    ask_groups: tuple[str, ...] = ()


def frames(verbs: str, *frames: str) -> tuple[str, ...]:
    """Put every verb ("pick+up" is "pick up") into every frame, in place of `V`, or of `V:` in the plural."""
    said = []
    for verb in verbs.split():
        first, _, rest = verb.partition("+")
        rest = rest.replace("+", " ")
        for frame in frames:
            form = f"<{first}:>" if "V:" in frame else f"<{first}>"
            said.append(re.sub(r"V:?", f"{form} {rest}" if rest else form, frame))
    return tuple(said)


_GAIN = "find buy get win pick+up collect receive make catch gather earn order bake"
_LOSS = "lose sell drop throw+away give+away break use eat spend donate burn return lend waste"

EVENTS: dict[Kind, tuple[str, ...]] = {
    "gain": (
        *frames(_GAIN, "{who} V {n} more", "{who} V {n} {things}", "{who} V {n} more {things}", "{who} V another {n}"),
        "{who} <get> {n} {things} from {rel}",
        "{who} <get> {n} more from {rel}",
        "{who} <receive> {n} {things} from {rel}",
        "{who} <borrow> {n} {things} from {rel}",
        "{who} <be> given {n} more {things}",
        "{who} <add> {n} {things}",
        "{who} <add> {n} more {things} to {her} collection",
        "{who} <collect> {n} more {things}",
        "{rel} <give> {whom} {n} {things}",
        "{rel} <give> {whom} {n} more",
        "{rel} <bring> {whom} {n} {things}",
        "{rel} <buy> {whom} {n} more {things}",
        "{n} more {things} <arrive:> for {whom}",
        "{rel} <send> {n} {things} to {whom}",
        "{rel} <send> {whom} {n} {things}",
        "{rel} <give> {n} {things} to {whom}",
        "{rel} <hand> {whom} {n} {things}",
    ),
    "loss": (
        *frames(
            _LOSS,
            "{who} V {n} {things}",
            "{who} V {n} of them",
            "{who} V {n}",
            "{who} V {n} of {her} {things}",
            "{who} V {n} of the {things}",
        ),
        "{who} <give> {n} {things} to {rel}",
        "{who} <give> {rel} {n} {things}",
        "{who} <lend> {rel} {n} {things}",
        "{who} <sell> {n} {things} to {rel}",
        "{who} <send> {rel} {n} of {her} {things}",
        "{who} <leave> {n} {things} at home",
        "{who} <use> up {n} {things}",
        "{who} <throw> {n} of them away",
        "{who} <give> {n} of them to {rel}",
        "{n} of {whose} {things} <get:> lost",
        "{n} of {whose} {things} <break:>",
        "{n} of the {things} <be:> stolen",
        "{rel} <take> {n} of {whose} {things}",
        "{rel} <eat> {n} of {whose} {things}",
        "{rel} <steal> {n} of {whose} {things}",
        "{rel} <take> {n} {things} from {whom}",
        "{rel} <buy> {n} {things} from {whom}",
        "{who} <give> {n} of {her} {things} to {rel}",
    ),
    "times": (
        "{who} now <have> {m} times as many",
        "{who} <end> up with {m} times as many {things}",
        "{who} <multiply> {her} {things} by {m}",
        "the number of {whose} {things} <grow:s> {m} times",
        "{who} <work> hard and <have> {m} times as many {things}",
        "soon {who} <have> {m} times as many {things}",
    ),
    "share": (
        "{who} <split> the {things} into {m} equal piles and <keep> one",
        "{who} <make> {m} equal groups of the {things} and <keep> one group",
        "{who} <divide> {her} {things} into {m} equal parts and <keep> only one part",
        "{who} <put> the {things} equally into {m} boxes and <keep> one box",
        "{who} <keep> one of {m} equal parts",
        "{who} <keep> only {part} of {her} {things}",
        "{who} <keep> {part} of the {things}",
        "{who} <have> only {part} of {her} {things} left",
    ),
    "give": (
        "{who} <give> {n} {things} to {to}",
        "{who} <give> {to} {n} {things}",
        "{who} <give> {to} {n} of {her} {things}",
        "{who} <give> {n} of {her} {things} to {to}",
        "{who} <give> {n} of them to {to}",
        "{who} <hand> {n} {things} to {to}",
        "{who} <hand> {to} {n} {things}",
        "{who} <send> {to} {n} {things}",
        "{who} <lend> {to} {n} {things}",
        "{who} <give> {n} to {to}",
        "{who} <give> {to} {n}",
        "{who} <sell> {n} {things} to {to}",
        "{who} <lose> {n} {things} to {to}",
        "{to} <get> {n} {things} from {whom}",
        "{to} <take> {n} of {whose} {things}",
        "{to} <buy> {n} {things} from {whom}",
        "{to} <win> {n} {things} from {whom}",
        "{to} <borrow> {n} {things} from {whom}",
        "{to} <steal> {n} of {whose} {things}",
    ),
    "part": (
        *frames(
            "lose sell give+away throw+away eat use spend donate",
            "{who} V {part} of the {things}",
            "{who} V {part} of {her} {things}",
            "{who} V {part} of them",
        ),
        "{who} <give> {part} of {her} {things} to {rel}",
        "{who} <give> {rel} {part} of the {things}",
        "{rel} <take> {part} of {whose} {things}",
        "{part} of {whose} {things} <get:> lost",
    ),
    "give part": (
        "{who} <give> {part} of {her} {things} to {to}",
        "{who} <give> {to} {part} of {her} {things}",
        "{who} <give> {part} of them to {to}",
        "{who} <hand> {part} of the {things} to {to}",
        "{who} <sell> {part} of {her} {things} to {to}",
        "{to} <get> {part} of {whose} {things}",
        "{to} <take> {part} of {whose} {things}",
    ),
    "swap": (
        "{who} and {to} <swap:> all their {things}",
        "{who} <swap> all {her} {things} with {to}",
        "{who} and {to} <swap:> boxes",
        "{who} and {to} <exchange:> all their {things}",
        "{who} <trade> all {her} {things} for all of {tos} {things}",
    ),
    "packs": (
        "{who} <buy> {m} bags of {n} {things}",
        "{who} <buy> {m} boxes with {n} {things} each",
        "{who} <buy> {m} packs of {n}",
        "{who} <get> {m} packs of {n} {things} from {rel}",
        "{who} <find> {m} bags with {n} {things} in each",
        "{who} <order> {m} boxes of {n} {things} each",
        "{rel} <give> {whom} {m} boxes of {n} {things}",
        "{who} <win> {m} packs with {n} {things} each",
    ),
    "hand out": (
        "{who} <give> {n} {things} to each of {m} friends",
        "{who} <give> {n} {things} to each of {her} {m} friends",
        "{who} <give> {m} friends {n} {things} each",
        "{who} <sell> {m} boxes of {n} {things}",
        "{who} <sell> {m} bags with {n} {things} each",
        "{who} <eat> {n} {things} a day for {m} days",
        "{who} <use> {n} {things} every day for {m} days",
    ),
    "compare": (),
}

AT_PLACES: dict[Kind, tuple[str, ...]] = {
    "gain": (
        "{n} more {things} <arrive:>",
        "{n} more <arrive:>",
        "{n} more {things} <come:>",
        "{n} more <join:> them",
        "{n} {things} <be:> added",
        "{n} more {things} <appear:> {at}",
        "{n} more <get:> on",
        "another {n} {things} <come:>",
        "{rel} <put> {n} more {things} {into}",
        "{rel} <put> {n} {things} {into}",
        "{rel} <add> {n} {things}",
        "{rel} <add> {n} more",
        "{rel} <bring> {n} more {things}",
    ),
    "loss": (
        "{n} {things} <leave:>",
        "{n} <leave:>",
        "{n} of them <leave:>",
        "{n} <fly:> away",
        "{n} of them <fly:> away",
        "{n} {things} <fall:> down",
        "{n} <run:> away",
        "{n} of the {things} <disappear:>",
        "{n} <go:> home",
        "{n} <get:> off",
        "{n} {things} <be:> sold",
        "{n} of them <break:>",
        "{rel} <take> {n} {things} {from}",
        "{rel} <take> {n} {things}",
        "{rel} <take> {n} of them",
        "{rel} <eat> {n} of the {things}",
        "{rel} <remove> {n} {things}",
        "{rel} <take> {n} {things} away",
    ),
    "times": ("soon there <be:> {m} times as many {things}", "the number of {things} <grow:s> {m} times"),
    "give": ("{rel} <move> {n} {things} {from} {into2}", "{n} {things} <move:> {from} {into2}"),
    "part": (
        "{part} of them <leave:>",
        "{part} of the {things} <disappear:>",
        "{rel} <take> {part} of the {things}",
        "{rel} <take> {part} of them {from}",
        "{rel} <eat> {part} of them",
    ),
    "packs": (
        "{rel} <bring> {m} bags of {n} {things}",
        "{rel} <put> {m} packs of {n} {things} {into}",
        "{m} boxes with {n} {things} each <arrive:>",
    ),
}

TAUGHT = Wordings(
    relations=(
        "a friend",
        "{her} friend",
        "{her} aunt",
        "{her} uncle",
        "{her} mother",
        "{her} mom",
        "{her} father",
        "{her} dad",
        "{her} sister",
        "{her} brother",
        "a neighbour",
        "the teacher",
        "{her} grandmother",
        "{her} cousin",
        "{her} boss",
        "a customer",
        "a thief",
        "the dog",
        "somebody",
    ),
    when=(
        "Then",
        "Then",
        "Then",
        "Later",
        "Later,",
        "After that,",
        "Next,",
        "On {day}",
        "On {day},",
        "In the evening,",
        "In the afternoon,",
        "The next day,",
        "The next morning,",
        "Yesterday",
        "Now",
        "At school,",
        "In the morning",
        "But",
        "Suddenly",
        "Finally,",
        "An hour later,",
    ),
    tails=(
        "at the market",
        "at school",
        "on the way home",
        "in the garden",
        "in the park",
        "on {day}",
        "yesterday",
        "in the morning",
        "at the shop",
        "for lunch",
        "at the {place}",
        "in the {place}",
        "because of the rain",
        "by accident",
        "as a present",
        "the next day",
        "in a game",
        "today",
    ),
    start=(
        "{who} <have> {n} {things}.",
        "{who} <have> {n} {things}.",
        "{who} <have> {n} {things}.",
        "{who} <start> with {n} {things}.",
        "{who} <own> {n} {things}.",
        "At first {who} <have> {n} {things}.",
        "{who} <have> a box with {n} {things}.",
        "{who} <have> {n} {things} in a box.",
        "{who} <buy> {n} {things}.",
        "{who} <collect> {n} {things}.",
        "{who} <find> {n} {things}.",
        "{who} <make> {n} {things}.",
    ),
    start_both=(
        "{who} <have> {n} {things} and {to} <have:s> {m}.",
        "{who} <have> {n} {things} and {to} <have:s> {m} {things}.",
        "{who} <have> {n} {things}, {to} <have:s> {m}.",
        "{who} and {to} <have:> {n} and {m} {things}.",
        "{who} <start> with {n} {things} and {to} <start:s> with {m} {things}.",
        "{who} <have> {n} {things}, and {to} <have:s> {m} {things}.",
    ),
    start_packs=(
        "{who} <have> {m} boxes with {n} {things} each.",
        "{who} <have> {m} bags of {n} {things}.",
        "{who} <buy> {m} packs of {n} {things}.",
        "{who} <have> {m} boxes. Each box <have:s> {n} {things}.",
        "{who} <have> {m} bags with {n} {things} in each.",
    ),
    events=EVENTS,
    at_places=AT_PLACES,
    factors={
        2: (
            "{who} <double> {her} {things}",
            "{who} <double> the number of {things}",
            "{who} now <have> twice as many {things}",
        ),
        3: ("{who} <triple> {her} {things}", "{who} <triple> the number of {things}"),
    },
    compare={
        "more": (
            "{who} <have> {n} more {things} than {to}",
            "{who} <have> {n} more than {to}",
            "{who} <have> {n} {things} more than {to}",
        ),
        "fewer": (
            "{who} <have> {n} fewer {things} than {to}",
            "{who} <have> {n} less than {to}",
            "{who} <have> {n} fewer than {to}",
        ),
        "multiple": ("{who} <have> {m} times as many {things} as {to}", "{who} <have> {m} times as many as {to}"),
        "twice": ("{who} <have> twice as many {things} as {to}", "{who} <have> twice as many as {to}"),
        "half": ("{who} <have> half as many {things} as {to}", "{who} <have> half as many as {to}"),
    },
    idle=(
        "It <be:s> raining today.",
        "It <be:s> a sunny day.",
        "The wind <blow:s>.",
        "{x} <have:s> {n} {other}.",
        "{x} <have:s> {n} {other}.",  # twice as often: it is the one most easily taken for an event
        "{x} also <have:s> {n} {other}.",
        "{x} <be:s> {n} years old.",
        "The bus <be:s> {n} minutes late.",
        "{x} <live:s> near the sea.",
        "{x} <like:s> {things}.",
        "The {things} <be:> blue.",
        "Some of the {things} <be:> red.",
        "{x} <read:s> a book about {other}.",
        "A dog <bark:s>.",
        "The school <have:s> {n} windows.",
        "{x} and {x2} <be:> good friends.",
        "{x} <have:s> lunch at {m}.",
        "{x} <buy:s> {n} {other}.",
        "{x} <lose:s> {n} {other}.",
        "{x} <run:s> home.",
        "{x} <be:s> very happy.",
        "One box <cost:s> {n} cents.",
    ),
    ask={
        "one": (
            "How many {things} <do> {who} have now?",
            "How many {things} <do> {who} have?",
            "How many {things} <do> {who} have at the end?",
            "How many <do> {who} have now?",
            "How many {things} <do> {who} have left?",
            "How many <do> {who} have left?",
            "How many {things} <be:> left?",
            "How many <be:> left?",
            "What is the number of {things} {who} <have>?",
        ),
        "place": (
            "How many {things} <be:> there now?",
            "How many {things} <be:> {at} now?",
            "How many {things} <be:> {at}?",
            "How many {things} <be:> still {at}?",
            "How many {things} <be:> left {at}?",
            "How many {things} <be:> left?",
            "How many <be:> left?",
        ),
        "both": (
            "How many {things} <do:> they have together?",
            "How many {things} <do:> {who} and {to} have together?",
            "How many {things} <do:> they have in all?",
            "How many {things} <do:> the two have altogether?",
            "How many {things} <do:> they have in total?",
        ),
        "difference": (
            "How many more {things} <do> {who} have than {to}?",
            "How many {things} more than {to} <do> {who} have?",
            "How many fewer {things} <do:s> {to} have than {who}?",
            "What is the difference between {whose} and {tos} {things}?",
        ),
        "more": ("Who <have:s> more {things}?", "Who <have:s> more?", "Who <have:s> more {things} now?"),
        "each": (
            "How many {things} <do:s> each of them get?",
            "How many {things} <do:s> each one get?",
            "How many <do:s> each get?",
            "How many {things} <be:> that for each?",
        ),
        "other": (
            "How many {things} did {who} have at first?",
            "How many {things} did {who} have in the beginning?",
            "How many {things} did {who} give away?",
            "How many {things} did {who} lose?",
            "How many {things} did {who} buy?",
            "How many more {things} <do> {who} need?",
            "What did {who} do then?",
            "How old is {who}?",
            "How much <do:> the {things} cost?",
            "Why did {who} do that?",
        ),
    },
    share_out=(
        "{who} <share> the {things} equally among {m} friends.",
        "{who} <share> them equally among {m} children.",
        "{who} <divide> the {things} equally among {m} people.",
        "{who} <give> all the {things} to {m} friends, and each <get:s> the same number.",
        "{who} <put> the {things} equally into {m} boxes.",
    ),
    start_place=(
        "There <be:> {n} {things} {at}.",
        "There <be:> {n} {things} {at}.",
        "{n} {things} <be:> {at}.",
        "{rel} <put> {n} {things} {into}.",
    ),
    start_places=("There <be:> {n} {things} {at} and {m} {at2}.", "There <be:> {n} {things} {at}, {m} {at2}."),
)
