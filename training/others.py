"""What is no counting story and no sum, and the one sentence the models answer it with.

Greetings, questions about the world, requests to write, code, other languages, single words, noise. The patterns are
filled with known, rare and invented words, so that a model learns what such texts lack and not their words.
"""

from __future__ import annotations

from random import Random

from training import invented
from training.sums import Question
from training.words import COMMON, RARE

ANSWER = "I am the pair built into glimp: I solve counting stories and small sums, and nothing else."
STEP = "Something else."

_PATTERNS = (
    "hello;Hello!;hi;Hi there;hey;good morning;Good evening, {name}!;how are you?;How are you today?;thanks;thank you!;"
    "bye;ok;yes;no;test;help;Help me;please;what?;why?;hello {name};nice to meet you;what's up;Hello, are you there?;"
    "who are you?;Who are you;what are you?;what can you do?;What is your name?;who made you?;are you an AI?;"
    "are you ChatGPT?;which model are you?;how do you work?;what is glimp?;can you help me?;do you speak {name}?;"
    "What is the capital of {name}?;what is the capital of {place};Who wrote {name}?;who is {name}?;"
    "Who is {name} {name}?;"
    "When was {name} born?;What is a {place}?;what are {things}?;What does {verb} mean?;Why are {things} {adj}?;"
    "why is the sky blue?;How do {things} work?;how do I {verb} a {place}?;"
    "Where can I buy {things}?;"
    "How far is {name} from {name}?;what time is it?;what day is today?;"
    "How is the weather in {name}?;is {name} a {place}?;"
    "What is the meaning of life?;Tell me a joke;tell me a story about {things};Tell me about {name}.;"
    "Explain {things} to me.;explain how a {place} works;Explain quantum {things};what do you think about {things}?;"
    "Write a poem about {things}.;write a {adj} story about {name};Write an email to {name}.;write a letter;"
    "Write a haiku;Summarise this text: {name} went to the {place} and saw {things}.;Translate {things} into {name}.;"
    "translate this: {name} likes {things};List {n} {adj} {things}.;give me {n} names for a {place};"
    "Recommend a {place} in {name}.;what should I eat?;Should I buy {things}?;Do {things} sleep?;can {things} swim?;"
    "Give me a recipe for {things}.;how do you bake {things}?;Name three {things}.;"
    "def {verb}(x): return x + {n};print('{things}');import {verb};for {verb} in range({n}): print({verb});"
    "write a python function that sorts {things};Write code to {verb} a list.;fix this bug: {verb}.{place}();"
    'SELECT * FROM {things} WHERE {place} = {n};<html><body>{things}</body></html>;console.log("{name}");'
    "int main() {{ return {n}; }};git commit -m '{verb} {things}';{{\"{verb}\": {n}}};sudo {verb} {place};"
    "{name} has some {things}.;{name} likes {things}.;The {place} is {adj}.;{name} went to the {place}.;"
    "{things};{name};{place};{verb};{n};{adj} {things};{n} {things};{verb} {verb} {verb};{name} {name} {name};"
    "I feel sad today.;I like {things};my {place} is {adj};you are {adj};that is wrong;are you sure?;"
    "How many {things} are there in the world?;how many {things} are there in {name}?;How tall is {name}?;"
    "How many people live in {name}?;what is the population of {name}?;how old are you?;"
    "Solve for x: {n}x + {n} = {n};x + {n} = {n};what is the square root of {n}?;{n} squared;is {n} prime?;"
    "what is {n}%?;({n} + {n}) * {n};{n}!;{n}^{n};what is {n}.{n} + {n}?;convert {n} miles to km;"
    "A train goes {n} km an hour. When does it arrive?;What comes after {n}, {n}, {n}?;"
    "how much is {n} dollars in euros?"
)
_LANGUAGES = (
    "hola;¿Cómo estás?;¿Cuál es la capital de {name}?;¿Qué es esto?;Buenos días, {name};cuánto es {n} más {n};"
    "bonjour;Comment ça va ?;Quelle est la capitale de {name} ?;Qui êtes-vous ?;combien font {n} et {n};merci beaucoup;"
    "Hallo;Wie geht es dir?;Was ist die Hauptstadt von {name}?;Wer bist du?;{name} hat {n} Äpfel und isst {n}.;"
    "wie viel ist {n} plus {n}?;Guten Morgen;ciao;Come stai?;Qual è la capitale di {name}?;olá;Como você está?;"
    "hej;hur mår du;czesc;jak się masz;merhaba;nasılsın;xin chào;selamat pagi;привет;как дела?;"
    "столица;доброе утро;你好;你是谁?;今天天气怎么样?;{n}加{n}等于多少;什么是人工智能;こんにちは;お元気ですか;"
    "東京はどこですか;안녕하세요;뭐해?;مرحبا;كيف حالك;שלום;नमस्ते;γεια σου;สวัสดี"
)
_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "абвгдежзиклмнопрстуфхцчшя",
    "的一是不了人我在有他这为之大来以个中上们",
    "!?#$%&@~^_=|/\\{}[]<>;:.,'\"-+*",
)
_CHOICES = tuple(_PATTERNS.split(";")), tuple(_LANGUAGES.split(";"))


def tell_other(rng: Random) -> Question:
    """Make up a text that asks for nothing the models can do."""
    return Question(_text(rng), (STEP,), ANSWER, None, ("other",))


def _text(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.1:
        letters = rng.choice(_ALPHABETS)
        return " ".join("".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(rng.randint(1, 6)))
    patterns = _CHOICES[0] if kind < 0.75 else _CHOICES[1]
    texts = [rng.choice(patterns) for _ in range(rng.choice([1, 1, 1, 1, 2, 3]))]
    text = " ".join(_filled(rng, pattern) for pattern in texts)
    return text.lower() if rng.random() < 0.2 else text


def _filled(rng: Random, pattern: str) -> str:
    nouns = rng.choice([COMMON, RARE])
    made_up = rng.random() < 0.4
    while "{n}" in pattern:
        pattern = pattern.replace("{n}", str(rng.randint(2, rng.choice([12, 99, 999]))), 1)
    while "{name}" in pattern:
        pattern = pattern.replace("{name}", invented.name(rng) if made_up else rng.choice(nouns.boys), 1)
    return pattern.format(
        things=invented.thing(rng) if made_up else rng.choice(nouns.things),
        place=invented.place(rng) if made_up else rng.choice(nouns.shops),
        verb=invented.verb(rng),
        adj=rng.choice(["old", "new", "big", "blue", "good", invented.verb(rng)]),
    )
