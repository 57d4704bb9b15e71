"""Command lines with one option that is wrong: its name, its value, or what stands beside it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from benchmarks.robust.cases import Case
from benchmarks.robust.toy import (
    BENCH,
    COMPARE,
    DECODE,
    DISTILL,
    EVALUATE,
    EXPORT,
    MEASURE,
    PREPARE,
    TINY,
    TRAIN,
    TRANSLATE,
)
from seqdistill.commands import COMMANDS
from seqdistill.options import Option

OUT = ["--out", "out"]
BASES: dict[str, list[str]] = {
    "prepare": [*PREPARE, *OUT],
    "train": [*TRAIN, "--model", "transformer", *TINY, *OUT],
    "distill": [*DISTILL, *OUT],
    "evaluate": [*EVALUATE, *OUT],
    "translate": TRANSLATE,
    "compare": COMPARE,
    "tune-penalty": ["tune-penalty", "--model", "at", "--data", "data", *OUT],
    "measure": [*MEASURE, *OUT],
    "export": [*EXPORT, *OUT],
    "bench": [*BENCH, *OUT],
    "study decision-theory": ["study", "decision-theory", "--hmms", "1", "--workers", "1", *OUT],
    "study modes": ["study", "modes", "--output", "a=test.src", "--language", "a=train.src", *OUT],
}
"""Command lines to which one wrong option is added."""
NO_NUMBERS = [
    "abc",
    "",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "0x10",
    "1_",
    "1,5",
    "--",
    "9" * 5000,
    "½",
    "1e-400x",
    "\x1b[31m",
]
WRONG_SETS = {
    **{"without a value": "dim", "without a key": "=3", "no number": "dim=abc", "below 0": "dim=-5", "odd": "dim=15"},
    **{"a fraction": "dim=16.5", "unknown": "dimension=16", "none": "dim=null", "NaN": "dropout=NaN", "1": "dropout=1"},
    **{
        "deep": "dim=" + "[" * 50_000,
        "digits": "dim=" + "9" * 5000,
        "a list": "dim=[1]",
        "of the data": "source_vocab=9",
    },
    **{"terabytes": "dim=1000000", "wide": "ffn_dim=100000000000", "layers": "encoder_layers=1000000000000"},
    **{"infinite": "dropout=Infinity", "true": "dim=true", "text": 'dim="16"', "0": "heads=0"},
}
CONFLICTS: dict[str, list[list[str]]] = {
    "prepare": [["--table", "table.tsv"], ["--valid-size", "5"], ["--languages", "en-de"], ["--target", "train.tgt"]],
    "train": [
        ["--teacher", "at"],
        ["--data-labels", "data"],
        ["--mixing", "linear"],
        ["--init", "data"],
    ],
    "distill": [
        ["--n-best", "5"],
        ["--top-k", "3"],
        ["--select-among", "2"],
        ["--iterations", "3"],
        ["--teacher", "nat"],
    ],
    "evaluate": [["--penalty", "1"], ["--first-tokens", "2"], ["--metrics", "bleu,,"], ["--metrics", "blue"]],
    "translate": [["--sampling", "--beam", "3"], ["--expert", "1"], ["--rescoring-samples", "2"], ["--trace"]],
    "export": [
        ["--valid-source", "valid.src"],
        ["--valid-source", "valid.src", "--valid-target", "valid.tgt"],
        ["--valid-target", "valid.tgt"],
        ["--shortlist", "at"],
        ["--shortlist", "scores"],
        ["--shortlist", "train.src"],
        ["--expert", "1"],
    ],
    "bench": [
        ["data"],
        ["at"],
        ["scores"],
        ["--every-engine", "--engine", "torch"],
        ["--penalty", "1"],
        ["--source", "test.src"],
        ["--n-best", "2"],
        ["--cores", "4096"],
    ],
    "compare": [["--num-references", "3"], ["--tokenize", "none-such"], ["--metrics", "comet,"], ["--metrics", ""]],
}
TYPES = {"--device": "gpu9", "--compute-type": "int4", "--source-tokenizer": "x", "--links": "none-such"}


def option_values(draw: random.Random, folder: Path) -> Case:
    """A command line with one wrong option, now and then with none."""
    return draw.choice([_number, _number, _number, _choice, _name, _set, _conflict, _stray, _sound])(draw)


def _options(verb: str) -> Mapping[str, Option]:
    return COMMANDS[verb].kind.offered()


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _given(verb: str, flag: str, value: str) -> list[str]:
    """The base with this option once."""
    words = list(BASES[verb])
    while flag in words:
        del words[words.index(flag) : words.index(flag) + 2]
    return [*words, flag, value]


def _kinds(annotation: Any) -> set[type]:
    parts = get_args(annotation)
    return (
        {annotation}
        if not parts
        else set().union(*(_kinds(part) for part in parts if get_origin(annotation) is not Literal))
    )


def _ends(annotation: Any, metadata: Any) -> dict[str, float]:
    flat = [inner for part in metadata for inner in getattr(part, "metadata", [part])]
    found = {key: getattr(part, key) for part in flat for key in ("ge", "gt", "le", "lt") if hasattr(part, key)}
    for part in get_args(annotation):
        found |= _ends(part, getattr(part, "__metadata__", ()))
    return found


def _number(draw: random.Random) -> Case:
    verb = draw.choice(list(BASES))
    numbers = {
        name: option for name, option in _options(verb).items() if {int, float} & _kinds(option.field.annotation)
    }
    name = draw.choice(list(numbers))
    field = numbers[name].field
    ends = _ends(field.annotation, field.metadata)
    low, high = ends.get("ge", ends.get("gt", 0)), ends.get("le", ends.get("lt", 0))
    value = draw.choice([*NO_NUMBERS, low - 1, -1e30, high + 1, high * 10 + 7, int(high) * 10**20 + 10**20])
    return Case(f"{verb} {_flag(name)} {str(value)[:20]}", _given(verb, _flag(name), str(value)), "refused")


def _choice(draw: random.Random) -> Case:
    verb = draw.choice(list(BASES))
    choices = [name for name, option in _options(verb).items() if get_origin(option.field.annotation) is Literal]
    if not choices:
        return _number(draw)
    name = draw.choice(choices)
    value = draw.choice(["", "none-such", "BLEU", "[/x]", "\x1b]0;x\x07", "\udcff"])
    return Case(f"{verb} {_flag(name)} {value!r}", _given(verb, _flag(name), value), "refused")


def _name(draw: random.Random) -> Case:
    verb = draw.choice(list(BASES))
    name = _flag(draw.choice(list(_options(verb))))
    place = draw.randrange(2, len(name))
    wrong = draw.choice(
        [name[:place] + "q" + name[place:], name + "s-", name.upper(), name.replace("--", "---"), "--\x1b[31m"]
    )
    return Case(f"{verb} {wrong!r}", [*BASES[verb], wrong, "1"], "refused")


def _set(draw: random.Random) -> Case:
    kind = draw.choice(list(WRONG_SETS))
    model = draw.choice(["transformer", "nat", "sru", "levt", "flowseq"])
    words = [*TRAIN, "--model", model, "--set", WRONG_SETS[kind], *OUT]
    wanted = "either" if kind == "odd" or (kind, model) == ("0", "sru") else "refused"
    return Case(f"--set, {kind}, {model}", words, wanted)


def _conflict(draw: random.Random) -> Case:
    verb = draw.choice(list(CONFLICTS))
    added = draw.choice(CONFLICTS[verb])
    return Case(f"{verb} with {' '.join(added)}", [*BASES[verb], *added], "refused")


def _stray(draw: random.Random) -> Case:
    """Verbs that there are not, missing options, options without values, places that cannot be written."""
    kind, words = draw.choice(
        [
            ("a verb misspelt", ["trian", "--data", "data"]),
            ("no verb", ["--data", "data"]),
            ("half a study", ["study", "mode"]),
            ("nothing but a verb", [draw.choice([verb for verb in BASES if " " not in verb])]),
            ("an option without its value", [*TRAIN, "--model"]),
            ("a word too many", [*TRANSLATE, "word"]),
            ("an output that is a file", [*PREPARE, "--out", "train.src"]),
            ("an output below a file", [*PREPARE, "--out", "train.src/out"]),
            ("an output with a name too long", [*PREPARE, "--out", "x" * 300]),
            ("an output that cannot be", [*PREPARE, "--out", "/proc/none/out"]),
            ("an output with a NUL", [*PREPARE, "--out", "a\0b"]),
            ("an output with other files", [*PREPARE, "--out", "."]),
            ("the output of another stage", [*PREPARE, "--out", "at"]),
            ("other options in the same place", [*PREPARE, "--seed", "7", "--out", "data"]),
            ("an option of a type of its own", [*TRANSLATE, *draw.choice(list(TYPES.items()))]),
        ]
    )
    return Case(kind, list(words), "refused")


def _sound(draw: random.Random) -> Case:
    """Valid values of decoding and of comparing."""
    seed = str(draw.choice([0, 1, 2**31, 2**32, 2**63 - 1]))
    kind, words, stdin, lines = draw.choice(
        [
            ("samples", ["translate", "--model", "at", "--sampling", "--seed", seed, *DECODE[2:]], b"lamp\ndoor\n", 2),
            ("a beam", [*TRANSLATE, "--beam", str(draw.randint(1, 9))], b"lamp on\n\n", 2),
            ("a penalty of length", [*TRANSLATE, "--length-penalty", str(draw.choice([-10, 0, 10]))], b"lamp\n", 1),
            ("a comparison", [*COMPARE, "--bootstrap-seed", seed], b"", None),
            ("a refined output", ["translate", "--model", "nat", "--max-length", "9"], b"lamp\n", 1),
            ("an export", [*EXPORT, "--precision", draw.choice(["float32", "bfloat16"]), *OUT], b"", None),
            (
                "a shortlist",
                [*EXPORT, "--shortlist", draw.choice(["distilled", "exported", "measures"]), *OUT],
                b"",
                None,
            ),
            ("a conversion", [*EXPORT, "--to", "ctranslate2", "--shortlist", "data", *OUT], b"", None),
            ("models side by side", [*BENCH, "exported", *OUT], b"", None),
            ("sizes", ["prepare", *PREPARE[1:], "--seed", seed, "--train-size", "60", *OUT], b"", None),
            ("help", [draw.choice(["prepare", "train", "measure", "export", "bench"]), "--help"], b"", None),
            ("the same again", [*PREPARE, "--out", "data"], b"", None),
        ]
    )
    return Case(kind, words, "done", stdin=stdin, lines_out=lines)
