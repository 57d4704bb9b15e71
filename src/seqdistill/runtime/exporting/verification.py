"""What an export costs: the trained and the exported model translate the same text, and both are scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch

from seqdistill.data.batches import collate_sources
from seqdistill.errors import UserError
from seqdistill.hypothesis import Hypothesis
from seqdistill.metrics.metric import Metric, reference_line
from seqdistill.metrics.significance import compare
from seqdistill.models.interface import AutoregressiveModel, Model
from seqdistill.models.saved import LoadedModel
from seqdistill.options import DecodingOptions
from seqdistill.progress import Progress
from seqdistill.runtime.engines import create_engine

Ids = Sequence[Sequence[int]]
Decoder = Callable[[Ids, DecodingOptions], list[list[Hypothesis]]]

OPTIONS = DecodingOptions(beam=1)
TIE = 1e-3
"""Difference of log-probabilities below which the order of two words is no matter of the model."""
PROOF = "float32"
"""The decoder that must write what torch writes."""
COPIES, NUDGE = 8, 1e-4
"""Copies of a model whose weights differ by about this share: where one writes something else, rounding decides."""
SAMPLES = 1000


class Text(NamedTuple):
    """Lines to translate and, for each, its translations on one line as metrics read them."""

    sources: Sequence[str]
    references: Sequence[str]

    @classmethod
    def of(cls, sources: Sequence[str], references: Sequence[Sequence[str]], *, lines: int) -> Text:
        """The first lines of a text."""
        most = max(map(len, references))
        joined = [reference_line(each, num_references=most) for each in references[:lines]]
        return cls(list(sources[:lines]), joined)


class Verified(NamedTuple):
    """What was found."""

    results: dict[str, Any]
    """For "torch" its scores; for each decoder its scores, what it loses of each with a 95 % interval, how many lines
    are token for token those of torch, and for PROOF how many of the others differ by a tie only."""
    table: str
    """Each line: its number, its source, and of torch and every decoder the translation with its scores; tabs between
    them, and their names on the first line."""


def verified(
    loaded: LoadedModel,
    decoders: Mapping[str, Decoder],
    text: Text,
    metrics: Mapping[str, Metric],
    progress: Progress,
) -> Verified:
    """Greedy translations of the trained model by the torch engine, and of each decoder of the exported one.

    Args:
        decoders: by name, such as "int8" and "int8 with shortlist".

    Raises:
        UserError: PROOF writes something else than torch, not by a tie.
    """
    sources = loaded.tokenizers.source.encode_batch(text.sources)
    progress.start("verifying", total=1 + len(decoders), unit="decoders")
    torch_engine: Any = create_engine("torch", loaded)
    expected = torch_engine.decode_ids(sources, OPTIONS)
    before = _texts(loaded, expected)
    outputs = {"torch": before}
    scores = {name: round(metric.corpus(before, text.references).value, 4) for name, metric in metrics.items()}
    results: dict[str, Any] = {"lines": len(sources), "torch": scores}
    progress.advance()
    for name, decode in decoders.items():
        found = decode(sources, OPTIONS)
        outputs[name] = after = _texts(loaded, found)
        pairs = enumerate(zip(expected, found, strict=True))
        different = [line for line, (one, other) in pairs if one[0].tokens != other[0].tokens]
        results[name] = _losses(metrics, before, after, text.references)
        results[name]["equal_lines"] = len(sources) - len(different)
        if name == PROOF:
            others = set(different) - _ties(loaded, sources, expected, found, different)
            _check_proof(sorted(others), before, after)
            results[name]["ties"] = len(different)
        progress.advance()
    progress.finish()
    return Verified(results, _table(text, outputs, metrics))


def _losses(
    metrics: Mapping[str, Metric], before: Sequence[str], after: Sequence[str], references: Sequence[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, metric in metrics.items():
        change = compare(metric, before, after, references, num_samples=SAMPLES)
        found[key] = round(change.system, 4)
        loss = {"": -change.delta, "_low": -change.high, "_high": -change.low}
        found |= {f"{key}_loss{end}": round(value, 4) + 0.0 for end, value in loss.items()}  # never -0
    return found


def _check_proof(lines: Sequence[int], before: Sequence[str], after: Sequence[str]) -> None:
    """Raises UserError where there are lines that the exported model translates otherwise."""
    if not lines:
        return
    numbers = ", ".join(f"{line + 1:,}" for line in lines[:10]) + (", ..." if len(lines) > 10 else "")
    first = lines[0]
    raise UserError(
        f"in {PROOF} {len(lines):,} of {len(before):,} lines are not what PyTorch writes, and not by ties: {numbers}; "
        f"of line {first + 1:,} PyTorch makes {before[first]!r}, the export {after[first]!r}. That is a fault of "
        "seqdistill, or of how its engine was compiled, not of your model: do not use the export, build the engine "
        "again (`python -m seqdistill.native.build`) and, if it stays, report it"
    )


def _table(text: Text, outputs: Mapping[str, Sequence[str]], metrics: Mapping[str, Metric]) -> str:
    columns: dict[str, Sequence[object]] = {"line": range(1, len(text.sources) + 1), "source": text.sources}
    for name, lines in outputs.items():
        columns[name] = lines
        for key, metric in metrics.items():
            columns[f"{name} {key}"] = [f"{value:.2f}" for value in metric.sentences(lines, text.references)]
    rows = [[str(cell).replace("\t", " ") for cell in row] for row in zip(*columns.values(), strict=True)]
    return "".join("\t".join(row) + "\n" for row in [list(columns), *rows])


def _texts(loaded: LoadedModel, found: Sequence[Sequence[Hypothesis]]) -> list[str]:
    return loaded.tokenizers.target.decode_batch([hypotheses[0].tokens for hypotheses in found])


def _ties(
    loaded: LoadedModel,
    sources: Ids,
    expected: Sequence[Sequence[Hypothesis]],
    found: Sequence[Sequence[Hypothesis]],
    different: Sequence[int],
) -> set[int]:
    """The lines, of those that differ, where rounding decides what is written."""
    model = loaded.model
    ties = {line for line in different if _is_tie(model, sources[line], expected[line][0], found[line][0])}
    if isinstance(model, AutoregressiveModel):
        return ties
    # What is written at once, or anew, can turn on a tie in any of its passes, which leaves no trace in the output.
    rest = [line for line in different if line not in ties]
    generator = torch.Generator().manual_seed(1)
    for _ in range(COPIES if rest else 0):
        again = _nudged(loaded, generator).decode_ids([sources[line] for line in rest], OPTIONS)
        ties |= {line for line, each in zip(rest, again, strict=True) if each[0].tokens != expected[line][0].tokens}
    return ties


def _nudged(loaded: LoadedModel, generator: torch.Generator) -> Any:
    """The torch engine with a copy of the model whose weights differ a little."""
    copy: Any = deepcopy(loaded.model)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter *= 1 + NUDGE * torch.randn(parameter.shape, generator=generator)
    return create_engine("torch", loaded._replace(model=copy))


def _is_tie(model: Model, source: Sequence[int], one: Hypothesis, other: Hypothesis) -> bool:
    """Whether two greedy outputs part at a place where the model finds both words as probable."""
    if not isinstance(model, AutoregressiveModel):
        return abs(one.log_prob - other.log_prob) < TIE
    ids = model.target_ids
    first, second = ((*each.tokens, ids.eos) for each in (one, other))
    place = next((at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
    if place is None:
        return False
    with torch.inference_mode():
        logits = model(collate_sources([source], model.source_ids), torch.tensor([first[: place + 1]]))[0, place]
    return abs(float(logits[first[place]] - logits[second[place]])) < TIE
