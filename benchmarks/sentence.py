"""Where the time of one sentence goes in an exported model: for benchmarks/kernels.py --run.

Nothing is built for it. Text is cut and joined on its own, the calls of the engine are clocked, and what is inside of
them follows from calls that stop earlier or choose among fewer words. With n words written in t(n), and s(n) where only
the sentence's own words are allowed, so that the output layer computes hardly anything and writes the same:

    a step with its output layer   (t(n) - t(1)) / (n - 1)        a step without it   (s(n) - s(1)) / (n - 1)
    once a sentence                t(1) less a step               without a shortlist    s(1) less its step

Every time is the best of several calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from seqdistill.errors import UserError
from seqdistill.exported import is_exported
from seqdistill.manifest import recorded, status
from seqdistill.native.search import Search
from seqdistill.native.student import Student
from seqdistill.runtime.latency import evenly_spread
from seqdistill.verbs.texts import text_of_data


class Limits(NamedTuple):
    """What the machine can do on one core, in a second."""

    operations: float
    bytes: float


class Work(NamedTuple):
    """Of a part: multiplications and additions, and bytes of weights that they read."""

    operations: float = 0.0
    bytes: float = 0.0

    def seconds(self, limits: Limits) -> float:
        """That it takes at least."""
        return max(self.operations / limits.operations, self.bytes / limits.bytes)


class ClockedEngine:
    """The engine's library; counts the seconds inside of its functions."""

    def __init__(self, library: Any) -> None:
        self._library, self.seconds = library, 0.0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._library, name)

        def clocked(*arguments: Any) -> Any:
            began = perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds += perf_counter() - began

        setattr(self, name, clocked)
        return clocked


def opened(run: Path, sentences: int) -> tuple[Student, list[str]]:
    """The first exported model of a finished recipe, and so many lines of its test text.

    Raises:
        UserError: the recipe has none, or no data.
    """
    finished = [path for path in sorted(run.glob("*")) if status(path) == "finished"]
    kinds = {path: recorded(path)["kind"] for path in finished}
    exported = [path for path, kind in kinds.items() if kind == "export" and is_exported(path)]
    data = [path for path, kind in kinds.items() if kind == "prepare"]
    if not exported or not data:
        raise UserError(f"--run {run}: expected a finished recipe with a stage of `prepare` and one of `export`")
    lines = [line for line in text_of_data(data[0], "test").sources if line.strip()]
    return Student(exported[0], threads=1, beam=1), [lines[at] for at in evenly_spread(len(lines), sentences)]


def profile(
    student: Student, lines: Sequence[str], limits: Limits, *, repeats: int
) -> tuple[str, dict[str, float], list[dict[str, Any]]]:
    """Claim, figures and a row for each part; microseconds are those of a mean sentence.

    Args:
        student: greedy, with one thread.
        repeats: calls of which the best counts.
    """
    engine = ClockedEngine(student.model._library)
    student.model._library = engine  # type: ignore[assignment]
    at_once = student.exported.description["traits"]["non_autoregressive"]
    seconds: dict[str, float] = {}
    work: dict[str, Work] = {}
    counted, steps = 0, 0
    for line in lines:
        (source,) = student.tokenizers.source.encode_batch([line])
        (best,) = student.decode_ids([source], Search(beam=1))[0]
        if not best.tokens:
            continue
        its_steps, counted = len(best.tokens) + 1, counted + 1
        steps += its_steps
        found = outside_of(student, engine, line, best.tokens, repeats)
        if not at_once:
            found |= inside_of(student, engine, line, best.tokens, repeats, found.pop("engine"))
        for name, value in found.items():
            seconds[name] = seconds.get(name, 0.0) + value
        for name, value in {} if at_once else work_of(student, source, its_steps).items():
            before = work.get(name, Work())
            work[name] = Work(before.operations + value.operations, before.bytes + value.bytes)
    if not counted:
        raise UserError(f"{student.exported.path} writes nothing for all of these sentences")
    whole = sum(seconds.values())
    rows = [row_of(name, value, work.get(name), whole, limits, counted) for name, value in seconds.items()]
    figures = {"sentence_us": whole / counted * 1e6, "steps": steps / counted}
    figures |= {"limit_us": sum(each.seconds(limits) for each in work.values()) / counted * 1e6}
    return claim_of(student), figures, rows


def claim_of(student: Student) -> str:
    """What is measured, of which model."""
    description = student.exported.description
    return (
        f"One sentence at a time in the compiled engine ({student.model.instructions}, {description['precision']}, "
        f"{description['family']}, {description['parameters'] / 1e6:.1f} M parameters): the share of each part, and "
        "what its operations and its weights' bytes take at least on this machine"
    )


def row_of(name: str, seconds: float, work: Work | None, whole: float, limits: Limits, lines: int) -> dict[str, Any]:
    """A part's row; without limits where it is no products."""
    row: dict[str, Any] = {"part": name, "microseconds": round(seconds / lines * 1e6, 2)}
    row["share_percent"] = round(100 * seconds / whole, 1)
    if work is not None:
        row |= {"kilo_operations": round(work.operations / lines / 1e3), "kilobytes": round(work.bytes / lines / 1e3)}
        row["limit_microseconds"] = round(work.seconds(limits) / lines * 1e6, 2)
    return row


def outside_of(
    student: Student, engine: ClockedEngine, line: str, tokens: Sequence[int], repeats: int
) -> dict[str, float]:
    """Seconds of what surrounds the engine, and of its own calls together.

    Args:
        tokens: that are written.
    """
    source, target = student.tokenizers.source, student.tokenizers.target
    whole, inside = fastest(lambda: student.translate([line]), engine, repeats)
    cut, _ = fastest(lambda: source.encode_batch([line]), engine, repeats)
    joined, _ = fastest(lambda: target.decode_batch([tokens]), engine, repeats)
    return {
        "cut into pieces": cut,
        "Python": max(0.0, whole - inside - cut - joined),
        "joined again": joined,
        "engine": inside,
    }


def inside_of(
    student: Student, engine: ClockedEngine, line: str, tokens: Sequence[int], repeats: int, inside: float
) -> dict[str, float]:
    """Seconds of the parts of the engine's `inside`, by calls that do less; see above."""
    steps, own = len(tokens) + 1, [" ".join(student.tokenizers.target.piece(token) for token in tokens)]

    def until(words: int, **given: Any) -> float:
        return fastest(lambda: student.translate([line], max_length=words, **given), engine, repeats)[1]

    first, first_of_own = until(1), until(1, allowed=own)
    step = (until(steps) - first) / (steps - 1)
    own_step = min(step, (until(steps, allowed=own) - first_of_own) / (steps - 1))
    encoder = first_of_own - own_step
    shortlist = max(0.0, first - step - encoder) if student.exported.shortlist else 0.0
    layers = steps * own_step
    output = inside - encoder - shortlist - layers
    return {"encoder": encoder, "shortlist": shortlist, "decoder's layers": layers, "output layer": output}


def fastest(call: Callable[[], object], engine: ClockedEngine, repeats: int) -> tuple[float, float]:
    """Seconds of a call, and of the engine in it; each the least."""
    times = []
    for _ in range(repeats):
        before, began = engine.seconds, perf_counter()
        call()
        times.append((perf_counter() - began, engine.seconds - before))
    return min(whole for whole, _ in times), min(inside for _, inside in times)


def work_of(student: Student, source: Sequence[int], steps: int) -> dict[str, Work]:
    """Of each part that is products of matrices: a token's, times the tokens that it is done for."""
    tokens = len(source) + 1
    size = {"int8": 1, "bfloat16": 2, "float32": 4}[student.exported.description["precision"]]
    work: dict[str, Work] = {}
    for tensor in student.exported.tensors:
        cells = tensor.rows * tensor.columns
        if not tensor.matrix or tensor.name == "source_embedding.weight":
            continue
        if tensor.name == "target_embedding.weight":
            table = student.exported.shortlist
            rows = len(table.of([*source, student.exported.sides[0].ids.eos])) if table else tensor.rows
            part, times, reads = "output layer", steps, steps
            cells = rows * tensor.columns
        elif tensor.name.startswith(("encoder.", "key.")) or ".key_value." in tensor.name:
            # Read once for all tokens, but for matrices that need the token before.
            part, times, reads = "encoder", tokens, tokens if ".recurrent." in tensor.name else 1
        else:
            part, times, reads = "decoder's layers", steps, steps
        before = work.get(part, Work())
        work[part] = Work(before.operations + 2 * cells * times, before.bytes + cells * size * reads)
    return work
