"""One system in a process of its own, on its own cores: `python -m seqdistill.runtime.one_system` answers requests.

A request is a line of JSON on standard input, an answer one on standard output. The first request says what to open:

    {"place": {...}, "cores": [0], "options": {"beam": 1}, "alone": ["a line"]}  -> {"load_ms": 88.1, "peak_mb": 58.3}

With `alone` the process measures what it takes to load the system and to translate these lines, imports nothing that
the engine does not need, and ends. Without, it answers what the engine says of itself (`Opened.said`), and then, until
its standard input ends:

    {"single": ["a line", ...]}  -> {"milliseconds": [1.2, ...]}
    {"batch": ["a line", ...]}   -> {"seconds": 2.5, "texts": ["eine Zeile", ...]}

A user's mistake is the answer {"error": "..."}, and ends the process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from seqdistill.runtime.latency import one_by_one, peak_mb
from seqdistill.threads import keep_to

if TYPE_CHECKING:
    from seqdistill.decoding.engine import Engine

CHUNK_LINES = 512
"""Lines that an engine gets in one call, which makes its batches of them; as `evaluate` does."""

OWN_OPTIONS = ("iterations", "penalty", "no_repeat_ngram", "min_length")
"""Options of decoding that not every model has."""

Translate = Callable[[list[str]], list[str]]
"""Lines to their best translations."""


class Place(NamedTuple):
    """Where a system lies and how it is run."""

    engine: str
    folder: str
    """A trained model, or what the engine reads."""
    tokenizer: str = ""
    """Folder of the tokenizers, where it is not known by the other one."""
    compute_type: str = "auto"
    model: str = ""
    """Fingerprint of the trained model, where it is known."""
    vmap: bool = False
    """Whether CTranslate2 is to use the shortlist of the folder."""
    instructions: str = ""
    """The vector instructions that the compiled engine is to use; by default the best that the machine has."""


class Opened(NamedTuple):
    """A system, ready to translate."""

    single: Translate
    batch: Translate
    """The same, or what uses several cores for several batches instead of for one sentence."""
    said: dict[str, Any]
    """The engine's name and `precision`; the vector `instructions` it runs on, where it says so; and of the options
    those that the model has not, as `refused`, each with what the engine says."""


def _open_torch(place: Place, cores: int, options: dict[str, Any]) -> Opened:
    import torch

    from seqdistill.runtime.engines import load_engine

    torch.set_num_threads(cores)
    engine = load_engine("torch", Path(place.folder), device="cpu", compute_type=place.compute_type)
    translate, said = _with_options(engine, options)
    return Opened(translate, translate, said | {"instructions": torch.backends.cpu.get_cpu_capability()})


def _open_ctranslate2(place: Place, cores: int, options: dict[str, Any]) -> Opened:
    from seqdistill.runtime.ctranslate2_engine import CTranslate2Engine
    from seqdistill.vocabulary.vocabularies import Vocabularies

    def opened(workers: int, threads: int) -> tuple[Translate, dict[str, Any]]:
        engine = CTranslate2Engine(
            Path(place.folder),
            tokenizers,
            model=place.model,
            compute_type=place.compute_type,
            workers=workers,
            threads=threads,
            vmap=place.vmap,
        )
        return _with_options(engine, options)

    tokenizers = Vocabularies.load(Path(place.tokenizer))
    single, said = opened(1, cores)
    return Opened(single, single if cores == 1 else opened(cores, 1)[0], said)


def _with_options(engine: Engine, given: dict[str, Any]) -> tuple[Translate, dict[str, Any]]:
    """Lines to translations, with those of the options that the engine's model has; and what it says."""
    from seqdistill.options import DecodingOptions

    def options_of(values: dict[str, Any]) -> DecodingOptions:
        return DecodingOptions(**values).for_model(inserts=engine.traits.inserts)

    refused = _refused(given, lambda values: engine.decode([], options_of(values)))
    options = options_of({name: value for name, value in given.items() if name not in refused})
    said = {**engine.fingerprint, "refused": refused, "instructions": ""}
    return lambda lines: [found[0].text for found in engine.decode(lines, options)], said


def _refused(given: dict[str, Any], decode_nothing: Callable[[dict[str, Any]], object]) -> dict[str, str]:
    """The options that a model has not, each with what its engine says of it."""
    from seqdistill.errors import UserError

    refused = {}
    shared = {name: value for name, value in given.items() if name not in OWN_OPTIONS}
    for name in given.keys() & set(OWN_OPTIONS):
        try:  # beside those that all models have: a least length depends on the longest
            decode_nothing({**shared, name: given[name]})
        except UserError as error:
            refused[name] = str(error)
    return refused


def _open_compiled(place: Place, cores: int, options: dict[str, Any]) -> Opened:
    """What `seqdistill.load` opens, with no other import."""
    if place.instructions:
        os.environ["SEQDISTILL_INSTRUCTIONS"] = place.instructions
    from seqdistill.native.student import Student

    student = Student(place.folder, threads=cores)
    refused = _refused(options, lambda values: student.translate([], **values))
    kept = {name: value for name, value in options.items() if name not in refused}
    said = {**student.exported.fingerprint, "refused": refused, "instructions": student.model.instructions}

    def translate(lines: list[str]) -> list[str]:
        return student.translate(lines, **kept)

    return Opened(translate, translate, said)


def _open_ctranslate2_alone(place: Place, cores: int, options: dict[str, Any]) -> Opened:
    """CTranslate2 as its users call it, without our engine, whose rules on lengths need more imports than it does."""
    import ctranslate2

    from seqdistill.vocabulary.vocabularies import Vocabularies

    source, target, _ = Vocabularies.load(Path(place.tokenizer))
    translator = ctranslate2.Translator(place.folder, compute_type=place.compute_type, intra_threads=cores)
    ids = {target.piece(token): token for token in range(len(target))}

    def translate(lines: list[str]) -> list[str]:
        pieces = [[source.piece(token) for token in source.encode(line)] for line in lines]
        found = translator.translate_batch(pieces, beam_size=options.get("beam", 5), use_vmap=place.vmap)
        return [target.decode([ids[piece] for piece in each.hypotheses[0]]) for each in found]

    return Opened(translate, translate, {})


OPEN: dict[str, Callable[[Place, int, dict[str, Any]], Opened]] = {
    "torch": _open_torch,
    "ctranslate2": _open_ctranslate2,
    "compiled": _open_compiled,
}
"""Engine -> what opens a system on so many cores, with options of decoding."""

ALONE = {**OPEN, "ctranslate2": _open_ctranslate2_alone}
"""The same, with no import that the engine does not need."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches this process too; the one that started it ends it
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    requests = _requests(sys.stdin)
    try:
        for answer in _answers(requests):
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    except (ValueError, OSError, MemoryError) as error:
        answers.write(json.dumps({"error": _said(error)}) + "\n")
        answers.flush()


def _said(error: Exception) -> str:
    """A user's mistake as one line; raises what is none."""
    from seqdistill.errors import UserError, described

    if isinstance(error, MemoryError):
        return "needs more memory than there is: close other programs, or measure a smaller model"
    if isinstance(error, OSError):
        return described(error)
    if not isinstance(error, UserError):
        raise error
    return str(error)


def _requests(lines: IO[str]) -> Iterator[dict[str, Any]]:
    """Requests as they come; when the process that sends them ends, so does this one, whatever it is doing."""
    waiting: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in lines:
            waiting.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(waiting.get())


def _answers(requests: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    first = next(requests)
    place, cores, options = Place(**first["place"]), first["cores"], first["options"]
    keep_to(cores)  # before any library starts threads, which inherit it
    if "alone" in first:
        began = time.perf_counter()
        translate = ALONE[place.engine](place, len(cores), options).single
        load_ms = 1000 * (time.perf_counter() - began)
        for line in first["alone"]:
            translate([line])
        yield {"load_ms": load_ms, "peak_mb": peak_mb()}
        return
    opened = OPEN[place.engine](place, len(cores), options)
    yield opened.said
    for request in requests:
        if "single" in request:
            yield {"milliseconds": one_by_one(opened.single, request["single"])}
        else:
            yield _batch(opened.batch, request["batch"])


def _batch(translate: Translate, lines: list[str]) -> dict[str, Any]:
    """Seconds of all lines in batches, and their translations."""
    began, texts = time.perf_counter(), list[str]()
    for start in range(0, len(lines), CHUNK_LINES):
        texts += translate(lines[start : start + CHUNK_LINES])
    return {"seconds": time.perf_counter() - began, "texts": texts}


if __name__ == "__main__":
    main()
    os._exit(0)  # the thread that waits for requests holds standard input, which an ordinary end would wait for
