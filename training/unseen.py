"""What training never shows, to test the models with: names, things and places, and whole wordings.

Most verbs of the wordings stand in taught wordings, too, and a few in none: what those do can be told from the words
around them ("12 more", "5 of the").
"""

from __future__ import annotations

from training.wordings import Wordings
from training.words import Nouns, split

NOUNS = Nouns(
    girls=split("Wilma Greta Chiara Ingrid Zainab Beatriz Xenia Tilda Kerstin Dalia Philippa Rhiannon"),
    boys=split("Boris Dmitri Quentin Anton Stefan Gustav Tariq Casper Rupert Bjarne Eamon Vikram"),
    things=split("magnets lanterns peanuts spoons turnips ribbons postcards tulips muffins dice skittles acorns"),
    places=("in attic", "on balcony", "in cellar", "on meadow", "in wardrobe", "in kennel", "on ferry", "in vase"),
    shops=split("butcher bookstore kiosk florist laundry kindergarten"),
    crowds=split("swimmers seagulls acrobats ants guests"),
)

WORDINGS = Wordings(
    relations=("a stranger", "{her} nephew", "the postman", "{her} grandfather", "a visitor"),
    when=("Soon after,", "At noon,", "A week later,", "Afterwards", "To everybody's surprise,"),
    tails=("in the kitchen", "last week", "for fun", "without a word", "after breakfast"),
    start=(
        "{who} <keep> {n} {things} in a drawer.",
        "In the beginning {who} <own> {n} {things}.",
        "{who} <have> exactly {n} {things}.",
    ),
    start_both=(
        "{who} <own> {n} {things} while {to} <own:s> {m}.",
        "In the beginning {who} <have> {n} {things} and {to} <have:s> {m} {things}.",
    ),
    start_packs=("{who} <own> {m} crates of {n} {things}.", "{who} <have> {m} trays with {n} {things} on each."),
    events={
        "gain": (
            "{who} <discover> {n} more {things}",
            "{who} <be> given another {n}",
            "{who} <receive> {n} {things} as a present",
            "{who} <bring> home {n} more",
            "{who} <take> {n} {things} from {rel}",
            "{rel} <present> {whom} with {n} more {things}",
        ),
        "loss": (
            "{who} <part> with {n} of the {things}",
            "{who} <give> {n} {things} back to {rel}",
            "{n} of {whose} {things} <vanish:>",
            "{who} <hand> {rel} {n} of {her} {things}",
            "{rel} <borrow> {n} of {whose} {things}",
            "{who} <lose> another {n} {things}",
        ),
        "times": ("{who} <make> it {m} times as many {things}", "now {who} <own> {m} times as many"),
        "share": (
            "{who} <sort> the {things} into {m} equal heaps and <keep> just one",
            "{who} <make> {m} equal piles of the {things} and <keep> only one",
            "{who} <hold> on to {part} of the {things}",
        ),
        "give": (
            "{who} <pass> {n} {things} to {to}",
            "{who} <hand> over {n} of {her} {things} to {to}",
            "{to} <receive> {n} {things} from {whom}",
            "{who} <send> {n} of the {things} to {to}",
        ),
        "part": (
            "{who} <use> up {part} of {her} {things}",
            "{who} <leave> {part} of the {things} on the train",
            "{part} of {whose} {things} <vanish:>",
        ),
        "give part": ("{who} <pass> {part} of {her} {things} to {to}", "{to} <receive> {part} of {whose} {things}"),
        "swap": (
            "{who} and {to} <exchange:> everything they have",
            "{who} <swap> every one of {her} {things} with {to}",
        ),
        "packs": ("{who} <receive> {m} bags with {n} {things} each", "{who} <collect> {m} boxes of {n} {things}"),
        "hand out": ("{who} <hand> {n} {things} to each of {m} children", "{who} <lose> {m} bags of {n} {things}"),
        "compare": (),
    },
    at_places={
        "gain": ("{n} more {things} <turn:> up", "{rel} <lay> {n} more {things} {into}", "{n} more {things} <land:>"),
        "loss": ("{n} of the {things} <vanish:>", "{rel} <carry> away {n} of them", "{n} {things} <roll:> away"),
        "times": ("now there <be:> {m} times as many",),
        "give": ("{rel} <carry> {n} of the {things} {from} {into2}",),
        "part": ("{part} of them <vanish:>", "{rel} <remove> {part} of the {things}"),
        "packs": ("{rel} <carry> {m} boxes of {n} {things} {into}",),
    },
    factors={2: ("{who} <make> it twice as many {things}",)},
    compare={
        "more": ("{who} <own> {n} {things} more than {to}", "{who} <hold> {n} more than {to}"),
        "fewer": ("{who} <own> {n} {things} fewer than {to}", "{who} <hold> {n} {things} less than {to}"),
        "multiple": ("{who} <own> {m} times as many {things} as {to}",),
        "twice": ("{who} <own> twice as many {things} as {to}",),
        "half": ("{who} <own> half as many {things} as {to}",),
    },
    idle=(
        "The night <be:s> cold and clear.",
        "{x} <own:s> {n} {other} as well.",
        "The shop <close:s> in {n} minutes.",
        "{x} <sing:s> a song.",
        "The {things} <be:> heavy.",
        "Somebody <paint:s> a fence.",
        "{x} <weigh:s> {n} kilos.",
        "There <be:> {n} {other} on the floor.",
    ),
    ask={
        "one": (
            "How many {things} <be:> {whose} in the end?",
            "What is the number of {things} {who} <have> in the end?",
            "How many {things} <do> {who} own now?",
        ),
        "place": ("What is the number of {things} {at}?", "How many {things} <do:> we find {at} now?"),
        "both": ("How many {things} <do:> the two of them own together?", "How many {things} is that together?"),
        "difference": (
            "How many {things} more <do> {who} own than {to}?",
            "How many more {things} <do:s> {to} need to have as many as {who}?",
        ),
        "more": ("Who <own:s> more {things}?", "Which of the two <have:s> more?"),
        "each": ("What is the number of {things} in each share?",),
        "other": ("How many {things} <do> {who} have two days earlier?",),
    },
    share_out=("{who} <hand> the {things} out equally to {m} people.",),
    start_place=("Somebody <see:s> {n} {things} {at}.", "There <be:> exactly {n} {things} {at}."),
    start_places=("There <be:> {n} {things} {at} while {m} <be:> {at2}.",),
)
