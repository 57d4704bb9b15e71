"""A small text: words of a house, whose translation is the same words from last to first."""

from __future__ import annotations

import random

from seqdistill.text.corpus import ParallelCorpus, SentencePair

WORDS = ["lamp", "door", "heat", "light", "open", "closed", "window", "sensor", "room", "off"]


def pairs(count: int, seed: int) -> ParallelCorpus:
    chance = random.Random(seed)
    lines = [chance.choices(WORDS, k=chance.randint(2, 6)) for _ in range(count)]
    return ParallelCorpus.from_pairs("made up", [SentencePair(" ".join(a), " ".join(reversed(a))) for a in lines])
