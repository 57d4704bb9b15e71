"""NAT, iNAT, CMLM, InsT and LevT in the compiled engine: float32 as PyTorch decodes them, int8 alike on every set."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from compiled import Compiled, engine_sets

from seqdistill.data.batches import collate_sources
from seqdistill.decoding.decode import decode
from seqdistill.errors import UserError
from seqdistill.hypothesis import Hypothesis
from seqdistill.models.family import FAMILIES, exporter, resolved
from seqdistill.models.interface import Model
from seqdistill.options import DecodingOptions

PREDICTING, INSERTING = ("nat", "inat", "cmlm"), ("inst", "levt")
SIZES = {
    "norms first, tied": {},
    "norms after, two vocabularies": {"norm_first": False, "tied": False, "target_vocab": 50},
    "heads of odd width": {"dim": 24, "heads": 3, "ffn_dim": 50},
}


def made(family: str, **sizes: Any) -> Model:
    """A random model with larger matrices than usual, so that its words differ, and change between iterations."""
    torch.manual_seed(3)
    small = {"source_vocab": 40, "target_vocab": 40, "dim": 32, "ffn_dim": 48, "heads": 4, "dropout": 0.0}
    layers = {"encoder_layers": 2, "decoder_layers": 2}
    found = FAMILIES[family]
    model = resolved(found.model)(found.config(**{**small, **layers, **sizes})).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "embedding" not in name and "feed_forward" not in name:
                weight.mul_(3 if "attention" in name else 4)
    return model


def compiled(model: Model, family: str, *, precision: str = "float32", instructions: str | None = None) -> Compiled:
    return Compiled(
        model,
        exporter(family, "compiled")(model),
        family,
        precision=precision,
        instructions=instructions or engine_sets()[0],
    )


def random_sources(number: int, *, longest: int = 20) -> list[list[int]]:
    """Of all lengths from 1 on, shuffled."""
    rng = random.Random(5)
    sources = [[rng.randrange(5, 40) for _ in range(1 + i % longest)] for i in range(number)]
    rng.shuffle(sources)
    return sources


def assert_equal(found: list[list[Hypothesis]], expected: list[list[Hypothesis]], *, tolerance: float = 1e-4) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert [each.tokens for each in ours] == [each.tokens for each in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.log_prob == pytest.approx(other.log_prob, abs=tolerance, rel=1e-5)
            assert one.score == pytest.approx(other.score, abs=tolerance)
            assert (one.passes, one.iterations) == (other.passes, other.iterations)


def check(model: Model, family: str, sources: list[list[int]], **options: Any) -> list[list[Hypothesis]]:
    """Compares all hypotheses of both engines; returns them."""
    chosen = DecodingOptions(**options)
    expected = decode(model, collate_sources(sources, model.source_ids), chosen)
    assert_equal(compiled(model, family).decode(sources, chosen), expected)
    return expected


@pytest.mark.parametrize("sizes", SIZES.values(), ids=list(SIZES))
@pytest.mark.parametrize("beam", [1, 3, 5])
@pytest.mark.parametrize("family", PREDICTING)
def test_models_that_predict_lengths_decode_as_in_torch(family: str, beam: int, sizes: dict[str, Any]) -> None:
    model = made(family, **sizes)
    for iterations in (None,) if family == "nat" else (1, 4, 10):
        found = check(model, family, random_sources(20), beam=beam, n_best=beam, iterations=iterations)
        assert max(len({len(each.tokens) for each in hypotheses}) for hypotheses in found) >= min(beam, 3)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=list(SIZES))
@pytest.mark.parametrize("family", INSERTING)
def test_models_that_insert_decode_as_in_torch(family: str, sizes: dict[str, Any]) -> None:
    """Penalties below 0 let rows end early, so they leave the batch in different iterations."""
    model, iterations = made(family, **sizes), set()
    for most in (1, 4, 10):
        for penalty in (-4.0, -1.0, 0.0, 2.0):
            found = check(model, family, random_sources(20), beam=1, iterations=most, penalty=penalty)
            iterations |= {each.iterations for (each,) in found}
    assert len(iterations) > 2


@pytest.mark.parametrize("family", [*PREDICTING, *INSERTING])
def test_limits_hold(family: str) -> None:
    """The tightest cut a length, or a slot in part."""
    model, sources = made(family), random_sources(20)
    for options in ({"max_length": 1}, {"max_length": 7}, {"max_ratio": 0.5}):
        found = check(model, family, sources, beam=1, **options)
        assert max(len(each.tokens) for (each,) in found) <= options.get("max_length", 20)


@pytest.mark.parametrize("family", [*PREDICTING, *INSERTING])
def test_length_penalties_and_n_best_rank_candidates(family: str) -> None:
    beam = 4 if family in PREDICTING else 1
    for length_penalty in (0.0, 0.7, 2.0):
        check(
            made(family), family, random_sources(10), beam=beam, n_best=max(1, beam - 1), length_penalty=length_penalty
        )


@pytest.mark.parametrize("family", PREDICTING)
def test_lengths_themselves_as_classes(family: str) -> None:
    check(made(family, length="absolute"), family, random_sources(10), beam=3, n_best=3)


@pytest.mark.parametrize("family", [*PREDICTING, *INSERTING])
def test_a_sentence_does_not_depend_on_its_batch(family: str) -> None:
    """The same bits alone, in a batch, and in a batch that is turned around."""
    engine, sources, options = compiled(made(family), family), random_sources(30), DecodingOptions(beam=1)
    together = engine.decode(sources, options)
    assert [engine.decode([source], options)[0] for source in sources] == together
    assert engine.decode(sources[::-1], options) == together[::-1]


@pytest.mark.parametrize("family", [*PREDICTING, *INSERTING])
def test_sources_without_words_and_long_ones(family: str) -> None:
    """A source of EOS alone, and one that is longer than the table of positions."""
    model = made(family)
    check(model, family, [[], [7] * 300, [8]], beam=1, max_length=400, iterations=None if family == "nat" else 2)


@pytest.mark.parametrize("family", [*PREDICTING, *INSERTING])
def test_words_alone_are_the_same_words(family: str) -> None:
    engine, sources, options = compiled(made(family), family), random_sources(20), DecodingOptions(beam=1)
    with_scores, words = engine.decode(sources, options), engine.decode(sources, options, scores=False)
    assert [[each.tokens for each in found] for found in words] == [
        [each.tokens for each in found] for found in with_scores
    ]


@pytest.mark.parametrize("precision", ["int8", "bfloat16", "float32"])
@pytest.mark.parametrize("family", [*PREDICTING, *INSERTING])
def test_the_same_bits_on_every_instruction_set(family: str, precision: str) -> None:
    model, sources, options = made(family), random_sources(20), DecodingOptions(beam=1)
    found = [
        compiled(model, family, precision=precision, instructions=name).decode(sources, options)
        for name in engine_sets()
    ]
    assert all(each == found[0] for each in found)


def translations_for(model: Model) -> list[list[int]]:
    """Of each source id up to 4 words in any order, special ones among them; of EOS one that is written."""
    rng, vocab = random.Random(6), model.config.target_vocab
    rows = [rng.choices(range(vocab), k=rng.randint(0, 4)) for _ in range(model.config.source_vocab)]
    rows[model.source_ids.eos] = [rng.randrange(5, vocab)]
    return rows


def shortlists_of(model: Model, sources: list[list[int]], translations: list[list[int]]) -> list[list[int]]:
    """What all ids of each sentence bring."""
    return [[word for token in [*source, model.source_ids.eos] for word in translations[token]] for source in sources]


def in_words_of(model: Model, source: list[int], words: list[int], options: DecodingOptions) -> list[Hypothesis]:
    """What PyTorch decodes of one sentence where all ids but these and EOS are of the kind that is never written."""
    ids = model.target_ids
    barred = {*range(model.config.target_vocab)} - {*words, ids.eos} | {*ids.never_written}
    model.target_ids = ids._replace(never_written=tuple(sorted(barred)))
    try:
        return decode(model, collate_sources([source], model.source_ids), options)[0]
    finally:
        model.target_ids = ids


@pytest.mark.parametrize("sizes", list(SIZES)[:2])
@pytest.mark.parametrize("family", [*PREDICTING, *INSERTING])
def test_a_shortlist_is_all_that_there_is(family: str, sizes: str) -> None:
    """Words and probabilities, with candidates, iterations and penalties that let rows leave the batch.

    Sums of probabilities of words that are hardly probable: PyTorch's are 0.0002 off those of float64, as ours are.
    """
    model, sources = made(family, **SIZES[sizes]), random_sources(12)
    engine, rows = compiled(model, family), translations_for(model)
    lists = shortlists_of(model, sources, rows)
    several = {"beam": 3, "n_best": 3, "iterations": None if family == "nat" else 4}
    inserting = [{"beam": 1, "iterations": 6, "penalty": penalty} for penalty in (-4.0, 2.0)]
    for values in inserting if family in INSERTING else [{"beam": 1}, several]:
        options = DecodingOptions(**values)  # type: ignore[arg-type]
        found = engine.decode(sources, options, translations=rows)
        pairs = list(zip(sources, lists, strict=True))
        assert_equal(found, [in_words_of(model, *pair, options) for pair in pairs], tolerance=1e-3)
        for hypotheses, words in zip(found, lists, strict=True):
            assert all({*each.tokens} <= {*words} - {*model.target_ids.no_words} for each in hypotheses)
        alone = [engine.decode([source], options, translations=rows)[0] for source in sources]
        assert alone == found, "a batch has the bits of one by one"
        unscored = engine.decode(sources, options, translations=rows, scores=False)
        assert [row[0].tokens for row in unscored] == [row[0].tokens for row in found]


@pytest.mark.parametrize("precision", ["int8", "bfloat16", "float32"])
@pytest.mark.parametrize("family", [*PREDICTING, *INSERTING])
def test_shortlists_have_the_same_bits_on_every_instruction_set(family: str, precision: str) -> None:
    """And a list of all words gives those of none, but for the order in which probabilities are summed."""
    model, sources, options = made(family), random_sources(8), DecodingOptions(beam=1)
    rows, whole = translations_for(model), [[*range(model.config.target_vocab)]] * model.config.source_vocab
    engines = [compiled(model, family, precision=precision, instructions=name) for name in engine_sets()]
    found = [engine.decode(sources, options, translations=rows) for engine in engines]
    assert all(each == found[0] for each in found)
    assert_equal(engines[0].decode(sources, options, translations=whole), engines[0].decode(sources, options))


@pytest.mark.parametrize("family", PREDICTING)
def test_a_list_without_words_is_none(family: str) -> None:
    """Such as an altered directory may have: a model that knows its length has to write something."""
    model, sources, options = made(family), random_sources(5), DecodingOptions(beam=1)
    engine, special = compiled(model, family), [[], [*model.target_ids.no_words]] * model.config.source_vocab
    rows = special[: model.config.source_vocab]
    assert engine.decode(sources, options, translations=rows) == engine.decode(sources, options)


@pytest.mark.parametrize("family", PREDICTING)
def test_lengths_that_overflow_are_lengths_all_the_same(family: str) -> None:
    """Infinite and undefined logits have no greatest one; the lowest class of short sources is below 0."""
    model = made(family)
    with torch.no_grad():
        model.length.weight.fill_(3e38)  # type: ignore[union-attr]
    for found in compiled(model, family).decode(random_sources(20), DecodingOptions(beam=3, n_best=3)):
        assert all(1 <= len(each.tokens) <= 70 for each in found)


@pytest.mark.parametrize(("family", "beam", "most"), [("nat", 128, 127), ("levt", 2, 1), ("inst", 2, 1)])
def test_beams_that_cannot_be_are_refused(family: str, beam: int, most: int) -> None:
    with pytest.raises(ValueError, match=f"beam {beam}: models of the family {family} take at most {most}"):
        compiled(made(family), family).decode([[7]], DecodingOptions(beam=beam))


def test_flowseq_is_refused_with_its_reason() -> None:
    with pytest.raises(
        UserError, match=r"compiled runs .*levt, but this model is one of flowseq \(it draws latent .* flow"
    ):
        exporter("flowseq", "compiled")
