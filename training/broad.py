"""What the last stage of the training adds: more names and things of the world, and more ways to tell the same events.

It comes last because the vocabulary is learnt from the rest: these words are read in pieces, as a stranger's are.
"""

from __future__ import annotations

from dataclasses import replace

from training.wordings import TAUGHT, Kind, frames
from training.words import COMMON, RARE, Nouns, split

NOUNS = Nouns(
    girls=split(
        "Charlotte Amelia Isabella Olivia Ava Harper Evelyn Abigail Elizabeth Camila Penelope Layla Lillian "
        "Addison Aubrey Natalie Zoey Hazel Violet Aurora Savannah Audrey Brooklyn Bella Claire Skylar Paisley Caroline "
        "Valentina Gianna Naomi Elise Allison Gabriella Alexa Serenity Ariana Autumn Kaylee Madelyn Cora Eliana "
        "Josephine Margaret Catherine Patricia Barbara Jennifer Jessica Nancy Sandra Ashley Kimberly Michelle Amanda "
        "Melissa Deborah Stephanie Rebecca Sharon Cynthia Kathleen Angela Shirley Brenda Pamela Nicole Samantha "
        "Katherine Christine Heather Janet Victoria Joan Virginia Jacqueline Marie Judith Megan Andrea Cheryl Teresa "
        "Gloria Janice Brianna Natasha Ekaterina Anastasia Katya Magda Zofia Małgorzata Giulia Francesca Lucía Noémie "
        "Élodie Amélie Zoë Chloé Renée Françoise Hélène María Anne-Marie Mary-Jane Lou-Ann Freya Astrid "
        "Sigrid Solveig Åsa Björk Saskia Femke Anneke Ayşe Elif Zeynep Leyla Shirin Farah Nadia Samira Khadija Ananya "
        "Deepika Lakshmi Meera Sunita Kavita Mei-Ling Xiaoling Yan Akiko Sakura Haruka Minji Soo-Jin Linh Thuy Siti "
        "Dewi Wanjiku Amara Chioma Ngozi Zola Makena"
    ),
    boys=split(
        "Xavier Pavel Jackson Aiden Mason Elijah Logan Benjamin Caleb Jayden Gabriel Anthony Isaac Owen Nathan Wyatt "
        "Julian Levi Christopher Joshua Lincoln Mateus Jaxon Nathaniel Cameron Brandon Justin Austin Tyler Zach "
        "Jonathan Matthew Joseph Charles Richard Donald Steven Kenneth Brian Edward Ronald Timothy Jason Jeffrey Gary "
        "Nicholas Stephen Larry Scott Frank Raymond Gregory Jerry Dennis Walter Patrick Harold Douglas Arthur Albert "
        "Willie Lawrence Ralph Roy Eugene Louis Philip Bobby Johnny Bradley Bruce Carter Dylan Gavin Gus Hank Jake "
        "Kyle Lou Mario Luigi Ned Otto Phil Quinn Rick Sean Stan Ted Toby Tristan Vince Wayne Will Zane Jean-Luc "
        "Jean-Pierre O'Brien O'Neill D'Angelo Björn Søren Åke Jürgen Günther Matthias Heinrich Stéphane François André "
        "René José Raúl Javier Jesús Álvaro João Gonçalo Giovanni Luca Matteo Piotr Paweł Łukasz Miroslav Ondřej Igor "
        "Sergei Vladimir Mikhail Yuri Anatoly Mehmet Emre Yılmaz Karim Khalid Mustafa Abdul Ibrahim Youssef Arjun "
        "Vijay Sanjay Anil Suresh Krishna Wei Xiaoming Jun Haruto Takeshi Satoshi Min-Jun Nguyen Duc Budi Agus Kwesi "
        "Kamau Tendai Sipho Chinedu Babajide"
    ),
    things=split(
        "gems notes coupons donuts cupcakes tarts waffles bagels rolls loaves chips crisps noodles grapes berries "
        "blueberries raspberries apricots mangoes kiwis figs limes pineapples coconuts peppers beans peas beets leeks "
        "olives tacos pizzas burgers pies candies chocolates treats snacks drinks bricks tiles "
        "bolts pins needles pegs wires pipes bulbs torches lights laptops tablets cameras watches "
        "radios screens trucks vans boats ships kayaks trains planes bikes carts tyres tires engines "
        "horseshoes saddles cows pigs lambs puppies kittens cats dogs mice rats bees wasps spiders snails worms "
        "lizards snakes parrots owls eagles geese swans crabs lobsters oysters whales sharks seals tigers lions bears "
        "monkeys camels deer foxes wolves roses violets daffodils cacti ferns bushes logs sticks "
        "twigs rocks cones pots pans mugs glasses jars spades shovels rakes tools brooms sponges towels "
        "sheets curtains cushions rugs sofas desks benches stools mirrors vases baskets "
        "packets parcels letters comics novels albums records discs tapes vouchers "
        "cheques cents pounds pesos rupees yen crowns swords "
        "daggers dinosaurs unicorns monsters ghosts zombies elves trolls goblins wands potions scrolls "
        "runes spells dominoes jigsaws yo-yos slinkies whistles harps flutes pianos T-shirts hoodies jeans "
        "belts ties bows boots sandals slippers coats dresses skirts "
    ),
    places=tuple(
        "in barn;in yard;in lake;in river;on farm;in forest;on desk;on floor;on wall;in tank;in cage;in nest;"
        "in class;in hall;on bench;on ship;on boat;in car;in parking-lot;in library;in shop;on tray;in pot;in "
        "pocket;in chest;in sack;in crate;in truck;in van;on beach;on island;on hill;in street;in city;in village;in "
        "cave;in zoo;on wire;on fence".split(";")
    ),
    shops=split(
        "supermarket company club team grocery stall office bank church studio gym diner pub bar "
        "orchard vineyard dairy sawmill shipyard laboratory charity orchestra choir"
    ),
    crowds=split("pupils workers players fans sheep geese customers drivers sailors dancers bees ducks cars kids"),
)
"""Words of the last stage; the words held back to test the models with are not among them."""

MIXED = Nouns(
    *(
        getattr(NOUNS, kind) + getattr(COMMON, kind) + getattr(RARE, kind)
        for kind in ("girls", "boys", "things", "places", "shops", "crowds")
    )
)

_GAIN = (
    "grab fetch obtain acquire inherit harvest unpack dig+up gain print knit sew draw paint build craft cook "
    "purchase score accept pull+out take+home come+across pick secure steal import mine save+up add"
)
_LOSS = (
    "misplace smash discard hand+in post mail swallow tear+up crack bury dump toss spill drop+off sell+off get+rid+of "
    "gobble+up chew rip sink scrap destroy ship return+to+the+shop leave+behind swap+away melt crush snap deliver "
    "throw+out"
)

_EVENTS: dict[Kind, tuple[str, ...]] = {
    "gain": (
        *frames(
            _GAIN,
            "{who} V {n} more",
            "{who} V {n} {things}",
            "{who} V {n} more {things}",
            "{who} V another {n} {things}",
            "{who} V another {n}",
            "{who} V an extra {n} {things}",
            "{who} V {n} new {things}",
        ),
        "{who} <be> given {n} {things}",
        "{who} <get> {n} {things} back from {rel}",
        "{who} <get> {n} for {her} birthday",
        "{who} <get> {n} extra {things} from {rel}",
        "{who} <win> another {n} {things} from {rel}",
        "{who} <take> {n} more {things}",
        "{rel} <give> {whom} another {n}",
        "{rel} <offer> {whom} {n} {things}",
        "{rel} <bring> {n} more {things} for {whom}",
        "{rel} <pass> {whom} {n} {things}",
        "{rel} <return> {n} {things} to {whom}",
        "{rel} <lend> {whom} {n} {things}",
        "{n} more {things} <come:> for {whom}",
        "{whose} collection <grow:s> by {n} {things}",
    ),
    "loss": (
        *frames(
            _LOSS,
            "{who} V {n} {things}",
            "{who} V {n} of them",
            "{who} V {n}",
            "{who} V {n} of {her} {things}",
            "{who} V {n} of the {things}",
            "{who} V {n} more of them",
        ),
        "{who} <give> {n} more {things} to {rel}",
        "{who} <pay> {n} {things} to {rel}",
        "{who} <return> {n} {things} to {rel}",
        "{who} <offer> {rel} {n} of {her} {things}",
        "{who} <let> {rel} have {n} of {her} {things}",
        "{who} <send> {n} {things} to {rel}",
        "{who} <mail> {rel} {n} {things}",
        "{who} <leave> {n} of the {things} on the bus",
        "{n} of {whose} {things} <go:> missing",
        "{n} of {whose} {things} <disappear:>",
        "{n} of {whose} {things} <fall:> into the water",
        "{n} of the {things} <get:> eaten",
        "{n} {things} <be:> broken",
        "{n} of {whose} {things} <melt:>",
        "{rel} <grab> {n} of {whose} {things}",
        "{rel} <break> {n} of {whose} {things}",
        "{rel} <get> {n} {things} from {whom}",
        "{rel} <receive> {n} of {whose} {things}",
        "{rel} <lose> {n} of {whose} {things}",
    ),
    "times": (
        "{who} <have> {m} times as many {things} as before",
        "{who} <get> {m} times as many {things} as before",
        "{who} <grow> {her} collection to {m} times its size",
    ),
    "share": (
        "{who} <cut> the {things} into {m} equal lots and <keep> one",
        "{who} <put> the {things} into {m} equal rows and <keep> only one row",
        "{who} <keep> just {part} of {her} {things}",
        "{who} <be> left with {part} of {her} {things}",
    ),
    "give": (
        *frames(
            "give hand send lend offer bring mail",
            "{who} V {to} {n} of the {things}",
            "{who} V {n} more {things} to {to}",
            "{who} V {n} of {her} {things} to {to}",
            "{who} V {n} of them to {to}",
        ),
        "{who} <give> {to} {n} more",
        "{who} <pay> {to} {n} {things}",
        "{who} <return> {n} {things} to {to}",
        "{who} <donate> {n} {things} to {to}",
        "{who} <let> {to} have {n} {things}",
        "{who} <throw> {n} {things} to {to}",
        "{to} <get> {n} of {whose} {things}",
        "{to} <take> {n} {things} from {whom}",
        "{to} <grab> {n} of {whose} {things}",
        "{to} <get> {n} from {whom}",
        "{to} <be:s> given {n} {things} by {whom}",
    ),
    "part": (
        *frames(
            "misplace smash discard swallow dump toss ship eat lose sell give+away",
            "{who} V {part} of the {things}",
            "{who} V {part} of {her} {things}",
            "{who} V {part}",
        ),
        "{who} <send> {part} of the {things} to {rel}",
        "{rel} <get> {part} of {whose} {things}",
        "{rel} <steal> {part} of {whose} {things}",
        "{part} of {whose} {things} <go:> missing",
        "{part} of the {things} <break:>",
    ),
    "give part": (
        "{who} <send> {part} of {her} {things} to {to}",
        "{who} <lend> {to} {part} of {her} {things}",
        "{who} <give> {to} {part} of the {things}",
        "{who} <give> {part} to {to}",
        "{who} <offer> {to} {part} of {her} {things}",
        "{to} <steal> {part} of {whose} {things}",
        "{to} <win> {part} of {whose} {things}",
    ),
    "swap": (
        "{who} and {to} <switch:> all their {things}",
        "{who} and {to} <trade:> all their {things}",
        "{who} <exchange> all {her} {things} for {tos}",
        "{who} and {to} <swap:> bags",
        "{who} <give> all {her} {things} to {to} and <get> all of {tos}",
    ),
    "packs": (
        *frames("find buy get win order bring grab fetch purchase", "{who} V {m} bags of {n} {things} each"),
        *frames("find buy get win pick+up grab fetch purchase", "{who} V {m} more boxes of {n} {things}"),
        "{who} <open> {m} packets with {n} {things} in each",
        "{who} <fill> {m} bags with {n} {things} each",
        "{who} <find> {n} {things} in each of {m} boxes",
        "{who} <get> {n} {things} a day for {m} days",
        "{who} <make> {n} {things} every day for {m} days",
        "{rel} <bring> {whom} {m} bags of {n} {things}",
    ),
    "hand out": (
        *frames("give hand send", "{who} V each of {m} people {n} {things}"),
        *frames("sell lose drop throw+away ship deliver", "{who} V {m} boxes with {n} {things} each"),
        *frames("sell ship", "{who} V {m} packs of {n} {things}"),
        "{who} <give> {m} of {her} friends {n} {things} each",
        "{who} <eat> {n} {things} each day for {m} days",
        "{who} <sell> {n} {things} a day for {m} days",
        "{who} <give> each of {her} {m} friends {n} {things}",
    ),
    "compare": (),
}

_AT_PLACES: dict[Kind, tuple[str, ...]] = {
    "gain": (
        *frames("come arrive climb+on swim+up walk+in", "{n} V:", "{n} more V:", "{n} other {things} V:"),
        "{n} {things} <come:>",
        "{n} <come:> back",
        "{n} <join:>",
        "another {n} <arrive:>",
        "{n} new {things} <appear:>",
        "{rel} <leave> {n} more {things} {at}",
        "{rel} <throw> {n} {things} {into}",
        "{rel} <place> {n} more {at}",
        "{rel} <drop> {n} {things} {into}",
    ),
    "loss": (
        *frames("leave go walk+away swim+away drop+out escape die", "{n} V:", "{n} of them V:", "{n} {things} V:"),
        "{n} <be:> taken away",
        "{n} of the {things} <be:> eaten",
        "{n} of them <be:> sold",
        "{rel} <buy> {n} of them",
        "{rel} <scare> {n} of them away",
        "{rel} <pick> up {n} of the {things}",
        "{rel} <use> {n} of the {things}",
        "{rel} <break> {n} of them",
        "{rel} <steal> {n} {things} {from}",
    ),
    "times": ("soon there <be:> {m} times as many as before", "the number <grow:s> {m} times"),
    "give": ("{rel} <put> {n} of the {things} {from} {into2}", "{n} of the {things} <go:> {from} {into2}"),
    "part": (
        "{part} of them <go:> away",
        "{part} <leave:>",
        "{part} of the {things} <be:> sold",
        "{rel} <buy> {part} of them",
        "{rel} <steal> {part} of the {things}",
    ),
    "packs": (
        "{m} more bags of {n} {things} <arrive:>",
        "{rel} <add> {m} boxes of {n} {things}",
        "{rel} <leave> {m} bags with {n} {things} each {at}",
    ),
}


def _both(one: dict[Kind, tuple[str, ...]], other: dict[Kind, tuple[str, ...]]) -> dict[Kind, tuple[str, ...]]:
    return {kind: one[kind] + other.get(kind, ()) for kind in one}


BROAD = replace(
    TAUGHT,
    relations=(
        *TAUGHT.relations,
        "{her} son",
        "{her} daughter",
        "{her} best friend",
        "the baker",
        "an old man",
        "a girl",
        "a boy",
        "{her} little sister",
        "the cat",
        "a classmate",
        "another child",
        "someone",
        *("{her} {odd}", "{her} {odd}", "the {odd}", "a {odd}", "an old {odd}"),
    ),
    when=(
        *TAUGHT.when,
        "Soon",
        "Next",
        "After lunch,",
        "At night,",
        "In the end,",
        "Last month",
        "One day,",
        "A day later,",
        "Sadly,",
        "Luckily,",
        "After school",
        "This morning",
        "Today",
        "So",
        "However,",
        *("{odd}ly,", "At {odd},", "On {odd},", "After the {odd},", "In the {odd}", "A {odd} later,", "To the {odd},"),
    ),
    tails=(
        *TAUGHT.tails,
        "at home",
        "in the street",
        "from the shop",
        "online",
        "after school",
        "with a smile",
        "on the beach",
        "last night",
        "for dinner",
        "at a party",
        "for a friend's birthday",
        "in the end",
        "this week",
        "again",
        "too",
        *("at the {odd}", "with a {odd}", "for the {odd}", "after the {odd}", "in a {odd}", "{odd}ly", "this {odd}"),
    ),
    start=(
        *TAUGHT.start,
        "{who} <have> got {n} {things}.",
        "There <be:> {n} {things} that {who} <own>.",
        "{who} <hold> {n} {things}.",
        "{who} <bake> {n} {things}.",
        "{who} <pick> {n} {things}.",
        "{who} <get> {n} {things} for {her} birthday.",
        "{who} <bring> {n} {things} to school.",
        "{who} <begin> with {n} {things}.",
        "{who} already <have> {n} {things}.",
        "In the morning {who} <have> {n} {things}.",
        "{who} <have> a bag of {n} {things}.",
        "{who} <V> {n} {things}.",
        "{who} <V> {n} {things} in the {odd}.",
        "At {odd} {who} <have> {n} {things}.",
        "{who} {odd}ly <have> {n} {things}.",
    ),
    start_both=(
        *TAUGHT.start_both,
        "{who} <have> {n} {things} but {to} <have:s> only {m}.",
        "{who} <find> {n} {things} and {to} <find:s> {m}.",
        "{who} <buy> {n} {things} and {to} <buy:s> {m} {things}.",
        "{who} <V> {n} {things} and {to} <V:s> {m}.",
        "In the {odd} {who} <have> {n} {things} and {to} <have:s> {m}.",
        "{who} <have> {n} {things} and so {to} <have:s> {m} {things}.",
    ),
    start_packs=(
        *TAUGHT.start_packs,
        "{who} <buy> {m} bags with {n} {things} each.",
        "{who} <find> {m} boxes of {n} {things}.",
        "{who} <have> {m} rows of {n} {things}.",
        "{who} <have> {m} jars with {n} {things} in each jar.",
        "{who} <plant> {m} rows of {n} {things} each.",
        "{who} <V> {m} bags of {n} {things}.",
        "{who} <have> {m} {odd}s with {n} {things} each.",
        "{who} <have> {m} {odd}s of {n} {things}.",
        "{who} <have> {m} {odd}s with {n} {things} in each.",
        "{who} <get> {n} {things} every day for {m} days.",
    ),
    events=_both(TAUGHT.events, _EVENTS),
    at_places=_both(TAUGHT.at_places, _AT_PLACES),
    factors={
        2: (*TAUGHT.factors[2], "{who} <have> twice as many as before", "{whose} {things} <double:>"),
        3: (*TAUGHT.factors[3], "{who} <have> three times as many as before"),
    },
    compare={
        "more": (*TAUGHT.compare["more"], "{who} <get> {n} more than {to}", "{who} <find> {n} more {things} than {to}"),
        "fewer": (*TAUGHT.compare["fewer"], "{who} <get> {n} fewer than {to}", "{who} <find> {n} less than {to}"),
        "multiple": (*TAUGHT.compare["multiple"], "{who} <find> {m} times as many as {to}"),
        "twice": (*TAUGHT.compare["twice"], "{who} <get> twice as many as {to}"),
        "half": (*TAUGHT.compare["half"], "{who} <get> half as many as {to}"),
    },
    idle=(
        *TAUGHT.idle,
        "{x} <wear:s> {n} {other}.",
        "{x} <count:s> {n} {other}.",
        "{x} <see:s> {n} {other}.",
        "{x} <be:s> tired.",
        "Everybody <laugh:s>.",
        "The weather <be:s> nice.",
        "{x} <drink:s> a cup of tea.",
        "It <take:s> {n} minutes.",
        "The {things} <be:> {n} years old.",
        "{x} <want:s> {n} {other}.",
        "{x} <walk:s> {n} miles.",
        "Nothing <happen:s>.",
        "{x} <V:s> {n} {other}.",
        "{x} <V:s> {n} {other}.",
        "{x} <V:s> the {odd}.",
        "{x} <V:s> {n} {odd}s.",
        "{x} <V:s>.",
        "The {things} <be:> {odd}.",
        "The {odd} <V:s>.",
        "There <be:> {n} {other} {odd}ly.",
    ),
    ask={
        "one": (
            *TAUGHT.ask["one"],
            "How many {things} <do> {who} have after that?",
            "How many {things} <do> {who} have in all?",
            "How many {things} <do> {who} have in total?",
            "How many <do> {who} have?",
            "How many {things} <do> {who} end up with?",
            "How many {things} <do> {who} still have?",
            "How many <be:> left in the end?",
            "How many {things} remain?",
            "Count the {things} {who} <have> now.",
            "How many {things} in total?",
            "How many {things} <do> {who} V now?",
            "How many {things} <do> {who} V in the end?",
            "How many {things} <do> {who} have at the {odd}?",
            "How many {things} does that make for {whom}?",
            "What is the number of {things} {who} now <have>?",
            "How many {things} belong to {whom} now?",
        ),
        "place": (
            *TAUGHT.ask["place"],
            "How many are {at}?",
            "How many {things} remain {at}?",
            "How many <be:> there?",
            "How many are there now?",
            "How many {things} <stay:> {at}?",
            "How many {things} <do:> you count {at} now?",
            "What is the number of {things} there?",
            "How many {things} do they V {at}?",
        ),
        "both": (
            *TAUGHT.ask["both"],
            "How many do they have altogether?",
            "How many {things} do they have?",
            "How many in total?",
            "How many {things} <do:> both have together?",
            "How many {things} do they V together?",
            "How many {things} do the two of them have?",
            "What is the number of their {things} together?",
        ),
        "difference": (
            *TAUGHT.ask["difference"],
            "How many more <do> {who} have?",
            "How many more {things} than {to} <do> {who} V?",
        ),
        "more": (
            *TAUGHT.ask["more"],
            "Who has the most {things}?",
            "Who has more {things} at the end?",
            "Who <V:s> more {things}?",
        ),
        "each": (
            *TAUGHT.ask["each"],
            "How many for each?",
            "How many are in each?",
            "How many {things} are in each one?",
            "How many {things} does everybody get?",
            "How many {things} go to each?",
            "How many {things} are in one {odd}?",
        ),
        "other": TAUGHT.ask["other"],
    },
    share_out=(
        *TAUGHT.share_out,
        "{who} <put> them equally into {m} bags.",
        "{who} <pack> the {things} into {m} boxes, the same number in each.",
        "{who} <split> them evenly between {m} friends.",
        "{who} <share> the {things} with {m} friends so that each <get:s> the same.",
        "{who} <divide> them into {m} equal groups.",
        "{who} <V> the {things} equally among {m} {odd}s.",
        "{who} <V> them equally into {m} {odd}s.",
    ),
    start_place=(
        *TAUGHT.start_place,
        "{n} {things} <sit:> {at}.",
        "There <be:> a group of {n} {things} {at}.",
        "{n} {things} <live:> {at}.",
        "We <see:> {n} {things} {at}.",
        "{rel} <V> {n} {things} {at}.",
        "{n} {things} <V:> {at}.",
    ),
    start_places=(
        *TAUGHT.start_places,
        "{n} {things} <be:> {at} and {m} <be:> {at2}.",
        "{n} {things} <V:> {at} and {m} <V:> {at2}.",
    ),
    start_sum=(
        *(
            f"{{who}} <have> {{n}} {one} {{things}} and {{m}} {other} {{things}}."
            for one, other in (("red", "blue"), ("big", "small"), ("green", "yellow"), ("old", "new"))
        ),
        "{who} <have> {n} red and {m} blue {things}.",
        "{who} <buy> {n} white and {m} black {things}.",
        "{who} <have> {n} big and {m} small {things}.",
        "{who} <have> {n} {things} at home and {m} {things} at school.",
        "{who} <have> {n} {things} in one box and {m} in another.",
    ),
    groups=(
        "Each of {m} {group} <have:s> {n} {things}.",
        "{m} {group} <have:> {n} {things} each.",
        "There are {m} {group} with {n} {things} each.",
        "There are {m} {group} with {n} {things} in each.",
        "There are {m} {group}, and each <have:s> {n} {things}.",
        "{m} {group} get {n} {things} each.",
        "Every one of {m} {group} <hold:s> {n} {things}.",
    ),
    ask_groups=(
        "How many {things} are there?",
        "How many {things} are there in all?",
        "How many {things} <do:> they have together?",
        "How many {things} <do:> they have in total?",
        "How many {things} is that?",
        "How many {things} are there in total?",
    ),
)
"""All the wordings of the last stage: those taught before, and more."""
