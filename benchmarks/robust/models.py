"""Command lines that load a model, trained or exported: its description, weights, vocabulary altered, cut or gone."""

from __future__ import annotations

import json
import random
import shutil
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.robust.cases import Case
from benchmarks.robust.toy import BENCH, DECODE, EVALUATE, EXPORT, TINY, TRAIN, alter

VALUES: list[Any] = [None, -1, 0, 10**12, 10**400, 1.5, float("nan"), float("inf"), "x", "", [], {}, True, [[[]]]]


def models(draw: random.Random, folder: Path) -> Case:
    """A command line on a model that was altered, now and then on a sound one."""
    if draw.random() < 0.25:
        return _exported(draw, folder)
    model = folder / draw.choice(["at", "at", "nat"]) / "model"
    kind, wanted = (
        draw.choice([_description, _weights, _weights, _vocabulary, _gone, _elsewhere])(draw, model),
        "refused",
    )
    if kind.startswith("sound"):
        wanted = "done"
    name = model.parent.name if (model.parent / "manifest.json").exists() else f"{model.parent.name}/model"
    words, stdin, lines = draw.choice(
        [
            (["translate", "--model", name, "--max-length", "20"], b"lamp on\ndoor\n", 2),
            (["translate", "--model", name, "--max-length", "20"], b"lamp on\ndoor\n", 2),
            (["evaluate", "--model", name, *EVALUATE[3:-6], "--max-length", "20", "--out", "out"], b"", None),
            (
                [
                    *TRAIN,
                    "--model",
                    "transformer" if "nat" not in name else "nat",
                    *TINY,
                    "--init",
                    name,
                    "--out",
                    "out",
                ],
                b"",
                None,
            ),
        ]
    )
    if name == "at" and draw.random() < 0.2:
        words, stdin, lines = (
            ["distill", "--teacher", "at", "--data", "data", "--workers", "1", *DECODE, "--out", "out"],
            b"",
            None,
        )
    return Case(f"model, {kind}", words, wanted, stdin=stdin, lines_out=lines)  # pyright: ignore


def _exported(draw: random.Random, folder: Path) -> Case:
    """A command line on an exported directory, of which a file may be altered: all of them are read whole."""
    exported = folder / "exported"
    path = exported / draw.choice(["export.json", "weights.bin", "weights.bin", "shortlist.bin", "tokenizer"])
    if path.is_dir():
        path = draw.choice(sorted(each for each in path.iterdir() if each.name[0] != "."))
    content = bytearray(path.read_bytes())
    kind = draw.choice(["sound", "gone", "cut", "empty", "text", "more", "a flipped bit", "a flipped bit", "a folder"])
    if kind == "a flipped bit":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    altered = {"cut": bytes(content[: draw.randrange(1, len(content))]), "empty": b"", "text": b"lamp\n" * 9}
    altered |= {"more": bytes(content) + b"\0", "a flipped bit": bytes(content)}
    if kind in altered:
        alter(path, altered[kind])
    elif kind != "sound":
        path.unlink()
    if kind == "a folder":
        path.mkdir()
    words, stdin, lines = draw.choice(
        [
            (["translate", "--model", "exported", *DECODE], b"lamp on\ndoor\n", 2),
            (["translate", "--model", "exported", *DECODE], b"lamp on\ndoor\n", 2),
            (["evaluate", "--model", "exported", *EVALUATE[3:], "--out", "out"], b"", None),
            ([*BENCH, "exported", "--out", "out"], b"", None),
            ([*EXPORT, "--shortlist", "exported", "--out", "out"], b"", None),
        ]
    )
    return Case(
        f"exported, {path.name} {kind}", words, "done" if kind == "sound" else "refused", stdin, lines_out=lines
    )


def _description(draw: random.Random, model: Path) -> str:
    path = model / "config.json"
    description = json.loads(path.read_text())
    sizes = description["config"]
    kind = draw.choice(["a value", "a size", "a key gone", "a key more", "no object", "deep", "digits", "cut", "heads"])
    if kind == "a value":
        key = draw.choice(["model", "config", "tokenizer"])
        description[key] = draw.choice(VALUES)
    elif kind == "a size":
        key = draw.choice(list(sizes))
        sizes[key] = draw.choice(
            [value for value in VALUES if not (sizes[key] == value and type(value) is type(sizes[key]))]
        )
    elif kind == "a key gone":
        del sizes[draw.choice(["source_vocab", "target_vocab"])]
    elif kind == "a key more":
        sizes["dimension"] = 16
    elif kind == "heads":
        sizes["heads"] = 4
    text = json.dumps(description)
    if kind == "no object":
        text = draw.choice(["[]", "null", "1", '"x"', ""])
    if kind == "deep":
        text = "[" * 100_000
    if kind == "digits":
        text = text.replace("60", "9" * 5000, 1)
    if kind == "cut":
        text = text[: draw.randrange(len(text))]
    alter(path, text)
    return f"description, {kind}"


def _weights(draw: random.Random, model: Path) -> str:
    path = model / "model.safetensors"
    content = bytearray(path.read_bytes())
    length = struct.unpack("<Q", content[:8])[0]
    kind = draw.choice(
        [
            "cut",
            "empty",
            "text",
            "a flipped bit",
            "a bit of the header",
            "length",
            "NaN",
            "another shape",
            "one gone",
            "more",
        ]
    )
    if kind == "cut":
        content = content[: draw.randrange(1, len(content))]
    elif kind == "empty":
        content = bytearray()
    elif kind == "text":
        content = bytearray(b"weights\n" * 100)
    elif kind == "a flipped bit":
        content[draw.randrange(8 + length, len(content))] ^= 1 << draw.randrange(8)
    elif kind == "a bit of the header":
        content[draw.randrange(8, 8 + length)] ^= 1 << draw.randrange(7)
    elif kind == "length":
        content[:8] = struct.pack("<Q", draw.choice([0, 2**63, 2**64 - 1, length + 1, 10**9]))
    elif kind == "more":
        content += b"\0"
    else:
        _rewrite(draw, path, kind)
        return f"weights, {kind}"
    alter(path, bytes(content))
    return f"weights, {kind}"


def _rewrite(draw: random.Random, path: Path, kind: str) -> None:
    """The file as a program would write it, with other tensors."""
    tensors = load_file(path)
    name = draw.choice([name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel() > 1])
    if kind == "NaN":
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[0] = draw.choice([float("nan"), float("inf")])
    elif kind == "another shape":
        tensors[name] = torch.zeros(3, 5)
    else:
        del tensors[name]
    path.unlink()
    save_file(tensors, path)


def _vocabulary(draw: random.Random, model: Path) -> str:
    path = draw.choice(
        sorted(path for path in (model / "tokenizer").iterdir() if path.is_file() and path.name[0] != ".")
    )
    content = bytearray(path.read_bytes())
    kind = draw.choice(["cut", "empty", "gone", "a flipped bit", "text"])
    if kind == "gone":
        path.unlink()
        return f"vocabulary, {kind}"
    if kind == "a flipped bit":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(7)
    alter(path, {"cut": bytes(content[: len(content) // 2]), "empty": b"", "text": b"lamp\n"}.get(kind, bytes(content)))
    return f"vocabulary, {kind}"


def _gone(draw: random.Random, model: Path) -> str:
    path = draw.choice([model / "config.json", model / "model.safetensors", model / "tokenizer", model])
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if draw.random() < 0.5:
        path.mkdir()
    return f"{path.name} gone"


def _elsewhere(draw: random.Random, model: Path) -> str:
    """Nothing but the model folder, as a user would copy it."""
    if draw.random() < 0.5:
        (model.parent / "manifest.json").unlink()
        return "sound, without its manifest"
    return "sound"
