"""The names, things and places of the stories: common ones, rare ones and those held back to test the models.

Common ones are whole tokens. Rare ones are not in the vocabulary's text, so that they are read and written in pieces,
like any word of a stranger's.
"""

from __future__ import annotations

from dataclasses import dataclass

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = dict(zip(range(20, 100, 10), "twenty thirty forty fifty sixty seventy eighty ninety".split(), strict=True))

PARTS: dict[int, tuple[str, ...]] = {
    2: ("half", "one half", "half", "50%", "50 percent"),
    3: ("a third", "one third"),
    4: ("a quarter", "one quarter", "a fourth", "25%", "25 percent"),
    5: ("a fifth", "one fifth", "20%", "20 percent"),
    6: ("a sixth", "one sixth"),
    8: ("an eighth", "one eighth"),
    10: ("a tenth", "one tenth", "10%", "10 percent"),
}
"""How one part of several is said."""


def in_words(n: int) -> str:
    """Return a number from 0 to 99 as words."""
    if n < len(ONES):
        return ONES[n]
    tens = TENS[n - n % 10]
    return f"{tens}-{ONES[n % 10]}" if n % 10 else tens


@dataclass(frozen=True)
class Nouns:
    """Names, things and places."""

    girls: tuple[str, ...]
    boys: tuple[str, ...]
    things: tuple[str, ...]
    """In the plural."""
    places: tuple[str, ...]
    """With their preposition: "on tree"."""
    shops: tuple[str, ...]
    """What buys and sells, and is no person."""
    crowds: tuple[str, ...]
    """Who is found at places, and is nobody's."""


def split(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


ROLES = {
    **dict.fromkeys(split("farmer teacher baker boy man king pirate gardener doctor clown driver"), "boy"),
    **dict.fromkeys(split("girl woman queen princess witch nurse"), "girl"),
}
KIN = {
    **dict.fromkeys(split("brother father dad uncle grandfather friend neighbour son cousin"), "boy"),
    **dict.fromkeys(split("sister mother mom aunt grandmother daughter"), "girl"),
}
GROUPS = split("friends children boys girls boxes bags baskets jars tables shelves trees rooms buses teams")
ADJECTIVES = split("red blue green yellow small big old new wooden paper glass fresh ripe white black toy")
WEEKDAYS = split("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")

COMMON = Nouns(
    girls=split(
        "Mia Ana Zoe Eva Ivy Lily Nina Kate Yuki Sara Emma Olga Rosa Leila Maya Clara Ida Julia Amina Grace "
        "Sarah Anne Laura Lisa Maria Linda Susan Karen Helen Elena Irene Paula Carla Diana Emily Chloe Sophie "
        "Hannah Leah Ruth Rachel Amy Eve Jenny Molly Ruby Daisy Mei Aisha Noor Tina Wendy Betty Martha "
        "Alice Nora Hana Priya Fatima Anna Ella Lucy Sofia Mary Jane Lena Marta Vera"
    ),
    boys=split(
        "Leo Tom Max Sam Ben Omar Raj Hugo Paul Dan Adam Felix Ivan Jack Karl Luis Milo Noah Oscar Peter "
        "James Michael Robert Daniel Thomas George Henry William Joe Jim Tim Nick Alex Andrew Chris Eric Kevin "
        "Lucas Ethan Finn Carlos Pedro Diego Marco Ahmed Hassan Chen Kenji Jan Lars Sven Tony Steve Ryan "
        "Ravi Theo Victor Liam Ali Bob John Mark Erik Jonas Kofi Mateo Simon David"
    ),
    things=split(
        "marbles coins apples stickers shells cards beads stamps books pencils balls buttons stones cookies nuts "
        "oranges pears flowers ropes eggs balloons gloves sweets plums tickets keys leaves crayons bricks cakes "
        "pens cars dolls feathers badges photos bottles hats rings cups "
        "tomatoes potatoes carrots onions lemons bananas cherries peaches melons fish birds chairs lamps plates "
        "forks bowls stars kites drums bells flags masks socks shirts shoes scarves clocks phones rulers brushes "
        "candles planks nails screws wheels seeds trees ducks hens sheep goats horses rabbits frogs songs puzzles "
        "games tokens points medals prizes toys blocks dollars euros"
    ),
    places=tuple(
        "on tree;in box;in basket;on table;in bowl;in jar;in garden;on shelf;in bag;on bus;in room;in pond;on train;"
        "in field;on plate;in drawer;on roof;in cupboard;in park;in fridge".split(";")
    ),
    shops=split("bakery shop school library farm zoo museum hotel restaurant cafe factory market store garage"),
    crowds=split("people children students passengers birds dogs cats cows"),
)

RARE = Nouns(
    girls=split(
        "Henrietta Svetlana Beatrice Imogen Thandiwe Marguerite Yasmin Ottilie Rosalind Genevieve Saoirse Birgit "
        "Parvati Mirabel Ludmila Constance Esperanza Agnieszka Delphine Kimiko Oluchi Winifred Zuzana Florence"
    ),
    boys=split(
        "Archibald Bartholomew Kwame Ferdinand Gregor Hiroshi Ignatius Jeremiah Leopold Maximilian Nikolai Octavio "
        "Percival Rajesh Sebastian Thaddeus Ulysses Wolfgang Yusuf Zachary Emeka Bjorn Alistair Desmond"
    ),
    things=split(
        "walnuts pebbles biscuits pumpkins sandwiches lollipops pancakes teapots umbrellas hammers blankets pillows "
        "mushrooms strawberries cucumbers cabbages radishes almonds raisins croissants doughnuts brownies pretzels "
        "sparrows pigeons chickens turtles beetles butterflies caterpillars squirrels hamsters penguins dolphins "
        "magazines notebooks envelopes newspapers bicycles scooters skateboards helmets backpacks suitcases trousers "
        "sweaters jackets mittens necklaces bracelets earrings diamonds rubies pearls crystals fossils arrows shields "
        "robots rockets planets comets dragons wizards trophies posters paintings sculptures violins trumpets guitars "
        "tennis-balls paperclips batteries cables magnifiers screwdrivers ladders buckets barrels crates lilies daisies"
    ),
    places=tuple(
        "on hillside;in warehouse;in suitcase;on windowsill;in aquarium;in orchard;in wheelbarrow;on bookcase;"
        "in meadow;in stable;in backpack;in treasure-chest;on rooftop;in harbour;in bathtub;on branch;in freezer".split(
            ";"
        )
    ),
    shops=split("pharmacy greengrocer nursery theatre gallery brewery bookshop stadium hospital monastery academy"),
    crowds=split("tourists pilgrims monkeys pigeons soldiers musicians visitors beetles"),
)
"""Real words, in pieces."""
