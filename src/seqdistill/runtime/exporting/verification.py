"""What an export costs: the trained and the exported model translate the same text, and both are scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from seqdistill.data.batches import collate_sources
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


def verified(
    loaded: LoadedModel,
    decoders: Mapping[str, Decoder],
    text: Text,
    metrics: Mapping[str, Metric],
    progress: Progress,
) -> dict[str, Any]:
    """Greedy translations of the trained model by the torch engine, and of each decoder of the exported one.

    Args:
        decoders: by name, such as "int8" and "int8 with shortlist"; "float32" must write what torch writes.

    Returns:
        For "torch" its scores; for each decoder its scores, what it loses of each with a 95 % interval, how many lines
        are token for token those of torch, and of float32 how many of the others differ by a tie only.
    """
    sources = loaded.tokenizers.source.encode_batch(text.sources)
    progress.start("verifying", total=1 + len(decoders), unit="decoders")
    torch_engine: Any = create_engine("torch", loaded)
    expected = torch_engine.decode_ids(sources, OPTIONS)
    before = _texts(loaded, expected)
    scores = {name: round(metric.corpus(before, text.references).value, 4) for name, metric in metrics.items()}
    results: dict[str, Any] = {"lines": len(sources), "torch": scores}
    progress.advance()
    for name, decode in decoders.items():
        found = decode(sources, OPTIONS)
        after = _texts(loaded, found)
        own: dict[str, Any] = {}
        for key, metric in metrics.items():
            change = compare(metric, before, after, text.references, num_samples=SAMPLES)
            own[key] = round(change.system, 4)
            loss = {"": -change.delta, "_low": -change.high, "_high": -change.low}
            own |= {f"{key}_loss{end}": round(value, 4) + 0.0 for end, value in loss.items()}  # never -0
        pairs = list(zip(sources, expected, found, strict=True))
        different = [(source, one[0], other[0]) for source, one, other in pairs if one[0].tokens != other[0].tokens]
        own["equal_lines"] = len(sources) - len(different)
        if name == "float32":
            own["ties"] = sum(_is_tie(loaded.model, *each) for each in different)
        results[name] = own
        progress.advance()
    progress.finish()
    return results


def _texts(loaded: LoadedModel, found: Sequence[Sequence[Hypothesis]]) -> list[str]:
    return loaded.tokenizers.target.decode_batch([hypotheses[0].tokens for hypotheses in found])


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
