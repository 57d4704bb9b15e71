"""Whatever settings, tensors and requests the engine is given, it answers or refuses; run it with sanitizers too."""

from __future__ import annotations

import random

import compiled
import pytest
from compiled import Compiled, engine_sets
from left_to_right import MODELS, TOKENS, exported, model_of
from test_nonautoregressive import INSERTING, PREDICTING, made

from seqdistill.models.interface import Model
from seqdistill.options import DecodingOptions

VALUES = ["", "0", "1", "-1", "2", "3", "7", "40", "89", "90", "1000000", "99999999999", "0.5", "nan", "1,2,3", "abc"]
NAMES = ["sru", "gru", "lstm", "every", "once", "int8", "float32", "rnn", "hybrid", "transformer", "nat", "levt"]


@pytest.mark.parametrize("seed", range(4))
def test_nothing_crashes_the_engine(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, answered, refused = random.Random(seed), 0, 0
    settings = compiled._settings
    monkeypatch.setattr(compiled, "_settings", lambda *given: spoiled(settings(*given), draw))
    for _ in range(60):
        try:
            engine = spoiled_model(draw)
            sources = [ids(draw, 12) for _ in range(draw.randint(0, 5))]
            beam = draw.choice([1, 2, 5, 100])
            options = DecodingOptions(
                beam=beam,
                n_best=draw.randint(1, beam),
                max_length=draw.choice([1, 3, 20]),
                no_repeat_ngram=draw.choice([0, 0, 1, 2, 5]),
                length_penalty=draw.choice([-10, 0, 1, 10]),
            )
            given = {name: lists(draw, len(sources)) for name in ("prefixes", "allowed")}
            given["translations"] = draw.choice([[], [[*draw.sample(range(TOKENS), 3)] for _ in range(TOKENS)]])
            found = engine.decode(sources, options, scores=draw.random() < 0.5, **given)
            assert len(found) == len(sources)
            if not engine.model.traits.non_autoregressive:
                assert len(engine.score(sources, [ids(draw, 9) for _ in sources])) == len(sources)
            answered += 1
        except ValueError as refusal:
            assert str(refusal)
            refused += 1
    assert answered > 10 and refused > 10


def spoiled(settings: str, draw: random.Random) -> str:
    """The same with up to two lines changed, and one missing now and then."""
    lines = settings.strip().split("\n")
    for _ in range(draw.randint(0, 2)):
        place = draw.randrange(len(lines))
        key, _, value = lines[place].partition("=")
        lines[place] = f"{key}={draw.choice([*VALUES, *NAMES, value, f'{value}0'])}"
    if draw.random() < 0.1:
        lines.pop(draw.randrange(len(lines)))
    return "\n".join(lines) + "\n"


def spoiled_model(draw: random.Random) -> Compiled:
    """Any model, of which a tensor may be missing or have the name of another."""
    model = drawn_model(draw)
    family, parts = exported(model)
    place = draw.randrange(len(parts))
    if draw.random() < 0.1:
        parts.pop(place)
    elif draw.random() < 0.1:
        parts[place] = parts[place]._replace(name=draw.choice(parts).name)
    precision = draw.choice(["int8", "bfloat16", "float32"])
    return Compiled(model, parts, family, precision=precision, instructions=engine_sets()[-1])


def drawn_model(draw: random.Random) -> Model:
    if draw.random() < 0.6:
        return model_of(draw.choice(list(MODELS)))
    return made(draw.choice((*PREDICTING, *INSERTING)), source_vocab=TOKENS, target_vocab=TOKENS)


def ids(draw: random.Random, most: int) -> list[int]:
    """Of a vocabulary of TOKENS words; rarely one that is outside."""
    low, high = (-3, TOKENS + 3) if draw.random() < 0.02 else (0, TOKENS)
    return [draw.randrange(low, high) for _ in range(draw.randint(0, most))]


def lists(draw: random.Random, rows: int) -> list[list[int]]:
    return [ids(draw, 40) for _ in range(rows)] if draw.random() < 0.3 else []
