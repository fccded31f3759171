"""The words of the counting stories: those the models learn from, and others held back to test them.

A wording is a `str.format` template. It may use:

- `{who}`, `{whom}`, `{whose}`: the person it is about; a name, or a pronoun where the story allows one.
- `{her}`: that person's possessive pronoun, after the person was named in the sentence.
- `{to}`, `{tos}`: the second person and that person's possessive.
- `{rel}`: somebody whose amount is not counted.
- `{n}`, `{m}`: numbers; `{part}`: a part of a whole ("a third", "25%"); `{things}`: what is counted.
- `{x}`, `{other}`: any name, any other thing.

Wordings that begin with `{who}` can be joined to the sentence before ("Mia finds 17 and loses 5 of them").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gain", "loss", "times", "share", "give", "part", "give part", "swap", "packs", "compare"]


@dataclass(frozen=True)
class Words:
    """One set of names, things and wordings."""

    girls: tuple[str, ...]
    boys: tuple[str, ...]
    things: tuple[str, ...]
    relations: tuple[str, ...]
    """Somebody whose amount is not counted; `{her}` is the possessive of the person it happens to."""
    when: tuple[str, ...]
    """What a sentence may begin with."""
    start: tuple[str, ...]
    start_both: tuple[str, ...]
    wordings: dict[Kind, tuple[str, ...]]
    factors: dict[int, tuple[str, ...]]
    """Wordings of `times` for one factor only."""
    more: tuple[str, ...]
    """`compare`: `{who}` has `{n}` more than `{to}`."""
    fewer: tuple[str, ...]
    multiple: tuple[str, ...]
    """`compare`: `{who}` has `{m}` times as many as `{to}`."""
    twice: tuple[str, ...]
    half: tuple[str, ...]
    idle: tuple[str, ...]
    """Sentences that change nothing."""
    ask_one: tuple[str, ...]
    ask_both: tuple[str, ...]
    ask_difference: tuple[str, ...]


NUMBER_WORDS = dict(enumerate("two three four five six seven eight nine ten eleven twelve".split(), start=2))

PARTS: dict[int, tuple[str, ...]] = {
    2: ("half", "one half", "50%", "50 percent"),
    3: ("a third", "one third"),
    4: ("a quarter", "one quarter", "25%", "25 percent"),
    5: ("a fifth", "one fifth", "20%", "20 percent"),
    6: ("a sixth", "one sixth"),
    8: ("an eighth", "one eighth"),
    10: ("a tenth", "one tenth", "10%", "10 percent"),
}
"""How one part in so many is said."""

TAUGHT = Words(
    girls=tuple(
        "Mia Ana Zoe Eva Ivy Lily Nina Kate Yuki Sara Emma Olga Rosa Leila Maya Clara Ida Julia Amina Grace "
        "Sarah Anne Laura Lisa Maria Linda Susan Karen Helen Elena Irene Paula Carla Diana Emily Chloe Sophie "
        "Hannah Leah Ruth Rachel Amy Eve Jenny Molly Ruby Daisy Mei Aisha Noor Tina Wendy Betty Martha "
        "Alice Nora Hana Priya Fatima Anna Ella Lucy Sofia Mary Jane Lena Marta Vera".split()
    ),
    boys=tuple(
        "Leo Tom Max Sam Ben Omar Raj Hugo Paul Dan Adam Felix Ivan Jack Karl Luis Milo Noah Oscar Peter "
        "James Michael Robert Daniel Thomas George Henry William Joe Jim Tim Nick Alex Andrew Chris Eric Kevin "
        "Lucas Ethan Finn Carlos Pedro Diego Marco Ahmed Hassan Chen Kenji Jan Lars Sven Tony Steve Ryan "
        "Ravi Theo Victor Liam Ali Bob John Mark Erik Jonas Kofi Mateo Simon David".split()
    ),
    things=tuple(
        "marbles coins apples stickers shells cards beads stamps books pencils balls buttons stones cookies nuts "
        "oranges pears flowers ropes eggs balloons gloves sweets plums tickets keys leaves crayons bricks cakes "
        "pens cars dolls feathers badges photos bottles hats rings cups "
        "tomatoes potatoes carrots onions lemons bananas cherries peaches melons fish birds chairs lamps plates "
        "forks bowls stars kites drums bells flags masks socks shirts shoes scarves clocks phones rulers brushes "
        "candles planks nails screws wheels seeds trees ducks hens sheep goats horses rabbits frogs songs puzzles "
        "games tokens points medals prizes".split()
    ),
    relations=(
        "a friend",
        "{her} aunt",
        "{her} uncle",
        "{her} mother",
        "{her} father",
        "{her} sister",
        "{her} brother",
        "a neighbour",
        "the teacher",
        "{her} grandmother",
        "{her} cousin",
    ),
    when=(
        "Then",
        "Then",
        "Later",
        "Later,",
        "After that,",
        "Next,",
        "On Monday",
        "On Friday,",
        "In the evening,",
        "The next day,",
        "Now",
        "At school,",
        "In the morning",
    ),
    start=(
        "{who} has {n} {things}.",
        "{who} has {n} {things}.",
        "{who} starts with {n} {things}.",
        "{who} owns {n} {things}.",
        "There are {n} {things} in {whose} box.",
        "At first {who} has {n} {things}.",
        "{who} has a box with {n} {things}.",
    ),
    start_both=(
        "{who} has {n} {things} and {to} has {m}.",
        "{who} has {n} {things} and {to} has {m} {things}.",
        "{who} has {n} {things}, {to} has {m}.",
        "{who} and {to} have {n} and {m} {things}.",
        "{who} starts with {n} {things} and {to} starts with {m} {things}.",
    ),
    wordings={
        "gain": (
            "{who} finds {n} more",
            "{who} finds {n} {things}",
            "{who} finds {n} more {things}",
            "{who} buys {n} {things}",
            "{who} buys {n} more",
            "{who} buys {n} more {things}",
            "{who} gets {n} {things} from {rel}",
            "{who} gets {n} more",
            "{who} wins {n} {things}",
            "{who} picks up {n} {things}",
            "{who} is given {n} more {things}",
            "{who} adds {n} {things}",
            "{who} collects {n} more {things}",
            "{rel} gives {whom} {n} {things}",
            "{rel} gives {whom} {n} more",
            "{n} more {things} arrive for {whom}",
            "{rel} sends {n} {things} to {whom}",
        ),
        "loss": (
            "{who} loses {n} {things}",
            "{who} loses {n} of them",
            "{who} loses {n}",
            "{who} sells {n} {things}",
            "{who} sells {n} of the {things}",
            "{who} drops {n} of them",
            "{who} throws away {n} {things}",
            "{who} gives {n} {things} to {rel}",
            "{who} gives {rel} {n} {things}",
            "{who} gives away {n} {things}",
            "{who} breaks {n} of {her} {things}",
            "{who} uses {n} {things}",
            "{who} spills {n} {things}",
            "{n} of {whose} {things} get lost",
            "{rel} takes {n} of {whose} {things}",
            "{rel} takes {n} {things} from {whom}",
            "{who} gives {n} of {her} {things} to {rel}",
        ),
        "times": (
            "{who} now has {m} times as many",
            "{who} ends up with {m} times as many {things}",
            "{who} multiplies {her} {things} by {m}",
            "the number of {whose} {things} grows {m} times",
            "{who} works hard and has {m} times as many {things}",
        ),
        "share": (
            "{who} splits the {things} into {m} equal piles and keeps one",
            "{who} makes {m} equal groups of the {things} and keeps one group",
            "{who} divides {her} {things} into {m} equal parts and keeps only one part",
            "{who} puts the {things} equally into {m} boxes and keeps one box",
            "{who} keeps one of {m} equal parts",
            "{who} keeps only {part} of {her} {things}",
            "{who} keeps {part} of the {things}",
        ),
        "give": (
            "{who} gives {n} {things} to {to}",
            "{who} gives {to} {n} {things}",
            "{who} gives {to} {n} of {her} {things}",
            "{who} gives {n} of {her} {things} to {to}",
            "{who} hands {n} {things} to {to}",
            "{who} sends {to} {n} {things}",
            "{who} gives {n} to {to}",
            "{who} gives {to} {n}",
            "{who} sells {n} {things} to {to}",
            "{to} gets {n} {things} from {whom}",
            "{to} takes {n} of {whose} {things}",
            "{to} buys {n} {things} from {whom}",
            "{to} wins {n} {things} from {whom}",
        ),
        "part": (
            "{who} loses {part} of the {things}",
            "{who} sells {part} of {her} {things}",
            "{who} gives {part} of {her} {things} to {rel}",
            "{who} gives away {part} of the {things}",
            "{who} throws away {part} of the {things}",
            "{part} of {whose} {things} get lost",
        ),
        "give part": (
            "{who} gives {part} of {her} {things} to {to}",
            "{who} gives {to} {part} of {her} {things}",
            "{who} hands {part} of the {things} to {to}",
            "{to} gets {part} of {whose} {things}",
        ),
        "swap": (
            "{who} and {to} swap all their {things}",
            "{who} swaps all {her} {things} with {to}",
            "{who} and {to} swap boxes",
            "{who} and {to} exchange all their {things}",
            "{who} trades all {her} {things} for all of {tos} {things}",
        ),
        "packs": (
            "{who} buys {m} bags of {n} {things}",
            "{who} buys {m} boxes with {n} {things} each",
            "{who} gets {m} packs of {n} {things} from {rel}",
            "{who} finds {m} bags with {n} {things} in each",
            "{rel} gives {whom} {m} boxes of {n} {things}",
            "{who} wins {m} packs with {n} {things} each",
        ),
        "compare": (),
    },
    factors={
        2: (
            "{who} doubles {her} {things}",
            "{who} doubles the number of {things}",
            "{who} now has twice as many {things}",
        ),
        3: ("{who} triples {her} {things}", "{who} triples the number of {things}"),
    },
    more=(
        "{who} has {n} more {things} than {to}",
        "{who} has {n} more than {to}",
        "{who} has {n} {things} more than {to}",
    ),
    fewer=("{who} has {n} fewer {things} than {to}", "{who} has {n} less than {to}", "{who} has {n} fewer than {to}"),
    multiple=("{who} has {m} times as many {things} as {to}", "{who} has {m} times as many as {to}"),
    twice=("{who} has twice as many {things} as {to}", "{who} has twice as many as {to}"),
    half=("{who} has half as many {things} as {to}", "{who} has half as many as {to}"),
    idle=(
        "It is raining today.",
        "It is a sunny day.",
        "The wind blows.",
        "{x} has {n} {other}.",
        "{x} has {n} {other}.",  # twice as often: it is the one most easily taken for an event
        "{x} also has {n} {other}.",
        "{x} is {n} years old.",
        "The bus is {n} minutes late.",
        "{x} lives near the sea.",
        "{x} likes {things}.",
        "The {things} are blue.",
        "Some of the {things} are red.",
        "{x} reads a book about {other}.",
        "A dog barks.",
        "The school has {n} windows.",
        "{x} and {x2} are good friends.",
        "{x} has lunch at {m}.",
        "{x} buys {n} {other}.",
        "{x} loses {n} {other}.",
        "{x} runs home.",
        "One box costs {n} cents.",
    ),
    ask_one=(
        "How many {things} does {who} have now?",
        "How many {things} does {who} have?",
        "How many {things} does {who} have at the end?",
        "How many {things} are there in {whose} box now?",
        "How many does {who} have now?",
        "How many {things} does {who} have left?",
    ),
    ask_both=(
        "How many {things} do they have together?",
        "How many {things} do {who} and {to} have together?",
        "How many {things} do they have in all?",
        "How many {things} do the two have altogether?",
    ),
    ask_difference=(
        "How many more {things} does {who} have than {to}?",
        "How many {things} more than {to} does {who} have?",
        "How many fewer {things} does {to} have than {who}?",
        "What is the difference between {whose} and {tos} {things}?",
    ),
)

HELD_OUT = Words(
    girls=tuple("Wilma Greta Chiara Ingrid Zainab Beatriz Xenia Tilda Kerstin Dalia Philippa Rhiannon".split()),
    boys=tuple("Boris Dmitri Quentin Anton Stefan Gustav Tariq Casper Rupert Bjarne Eamon Vikram".split()),
    things=tuple(
        "magnets lanterns peanuts spoons turnips ribbons postcards tulips muffins dice skittles acorns".split()
    ),
    relations=("a stranger", "{her} nephew", "the postman", "{her} grandfather", "a visitor"),
    when=("Soon after,", "At noon,", "On Wednesday,", "Afterwards", "A week later,", "To everybody's surprise,"),
    start=(
        "{who} keeps {n} {things} in a drawer.",
        "In the beginning {who} holds {n} {things}.",
        "We know that {who} has {n} {things}.",
    ),
    start_both=(
        "{who} holds {n} {things} while {to} holds {m}.",
        "In the beginning {who} owns {n} {things} and {to} owns {m} {things}.",
    ),
    wordings={
        "gain": (
            "{who} discovers {n} more {things}",
            "{who} earns {n} {things}",
            "{who} receives {n} {things} as a present",
            "{who} brings home {n} more",
            "{rel} leaves {n} {things} for {whom}",
        ),
        "loss": (
            "{who} spends {n} {things}",
            "{who} parts with {n} of the {things}",
            "{who} leaves {n} {things} behind",
            "{n} of {whose} {things} vanish",
            "{who} donates {n} {things}",
        ),
        "times": ("{who} makes it {m} times as many {things}", "{whose} pile becomes {m} times as large"),
        "share": (
            "{who} sorts the {things} into {m} equal heaps and takes just one",
            "{who} deals the {things} into {m} fair shares and takes only one",
            "{who} holds on to {part} of the {things}",
        ),
        "give": (
            "{who} passes {n} {things} to {to}",
            "{who} presents {to} with {n} {things}",
            "{to} receives {n} {things} from {whom}",
            "{who} delivers {n} of {her} {things} to {to}",
        ),
        "part": (
            "{who} uses {part} of {her} {things}",
            "{who} leaves {part} of the {things} on the train",
            "{part} of {whose} {things} vanish",
        ),
        "give part": ("{who} passes {part} of {her} {things} to {to}", "{to} receives {part} of {whose} {things}"),
        "swap": ("{who} and {to} trade everything they have", "{who} and {to} trade every one of their {things}"),
        "packs": ("{who} receives {m} bags with {n} {things} each", "{who} orders {m} boxes of {n} {things}"),
        "compare": (),
    },
    factors={2: ("{who} makes it twice as many {things}",)},
    more=("{who} owns {n} {things} more than {to}", "{who} holds {n} more than {to}"),
    fewer=("{who} owns {n} {things} fewer than {to}", "{who} holds {n} {things} less than {to}"),
    multiple=("{who} owns {m} times as many {things} as {to}",),
    twice=("{who} owns twice as many {things} as {to}",),
    half=("{who} owns half as many {things} as {to}",),
    idle=(
        "The night is cold and clear.",
        "{x} owns {n} {other} as well.",
        "The shop closes in {n} minutes.",
        "{x} sings a song.",
        "The {things} are heavy.",
        "Somebody paints a fence.",
        "{x} weighs {n} kilos.",
        "There are {n} {other} on the table.",
    ),
    ask_one=(
        "Count the {things} that {who} has.",
        "What is the number of {things} {who} has in the end?",
        "How many {things} does {who} possess now?",
    ),
    ask_both=("Count all the {things} of {who} and {to}.", "How many {things} do the two of them own together?"),
    ask_difference=(
        "By how many {things} is {who} ahead of {to}?",
        "How many more {things} does {to} need to have as many as {who}?",
    ),
)
