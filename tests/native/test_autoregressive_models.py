"""The compiled engine against the torch engine, and against enumeration: models that write left to right."""

from __future__ import annotations

import ctypes
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from compiled import SANITIZED, Compiled, engine_sets
from left_to_right import MODELS, PROMPTED, TOKENS, exported, model_of

from seqdistill.data.batches import collate_sources
from seqdistill.decoding.decode import decode
from seqdistill.decoding.given import Given
from seqdistill.decoding.scoring import mean_log_probs
from seqdistill.hypothesis import Hypothesis
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.ids import OURS
from tests.enumerated import RULES, VOCAB, every_output


@cache
def compiled_of(
    name: str, *, precision: str = "float32", instructions: str | None = None, tokens: int = TOKENS, ids: Any = OURS
) -> Compiled:
    model = model_of(name, tokens, ids)
    family, parts = exported(model)
    return Compiled(model, parts, family, precision=precision, instructions=instructions or engine_sets()[0])


def sources_of(rows: int, *, longest: int = 12, tokens: int = TOKENS, seed: int = 1) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(5, tokens) for _ in range(draw.randint(1, longest))] for _ in range(rows)]


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]], *, tolerance: float = 1e-4) -> None:
    assert [[each.tokens for each in row] for row in found] == [[each.tokens for each in row] for row in expected]
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert one.log_prob == pytest.approx(other.log_prob, abs=tolerance)
        assert one.score == pytest.approx(other.score, abs=tolerance)
        assert (one.passes, one.iterations) == (0, 0)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("beam, n_best, length_penalty", [(1, 1, 1.0), (4, 1, 0.6), (5, 5, -0.5)])
def test_float32_writes_what_torch_writes(name: str, beam: int, n_best: int, length_penalty: float) -> None:
    sources, model = sources_of(23), model_of(name)
    options = DecodingOptions(beam=beam, n_best=n_best, length_penalty=length_penalty, max_length=17, max_ratio=1.5)
    found = compiled_of(name).decode(sources, options)
    assert_same(found, decode(model, collate_sources(sources), options))
    if beam == 1:
        words = [[row[0].tokens] for row in found]
        assert [[row[0].tokens] for row in compiled_of(name).decode(sources, options, scores=False)] == words


@pytest.mark.parametrize("beam, n_best", [(1, 1), (5, 5), (70, 20)])
def test_more_words_than_are_compared_at_once(beam: int, n_best: int) -> None:
    """1,000 words are 63 cells of up to 16: more than a narrow beam looks at, and fewer than a wide one."""
    sources, options = sources_of(12, tokens=1000), DecodingOptions(beam=beam, n_best=n_best, max_length=6)
    found = compiled_of("sru", tokens=1000).decode(sources, options)
    assert_same(found, decode(model_of("sru", 1000), collate_sources(sources), options))


@pytest.mark.parametrize("name", ["sru", "hybrid-lstm", "transformer"])
def test_decoders_with_a_prompt(name: str) -> None:
    sources, options = sources_of(9), DecodingOptions(beam=3, n_best=2, max_length=9)
    found = compiled_of(name, ids=PROMPTED).decode(sources, options)
    assert_same(found, decode(model_of(name, ids=PROMPTED), collate_sources(sources), options))


def test_the_expert_that_was_chosen_writes() -> None:
    sources, options, model = sources_of(9), DecodingOptions(beam=2, max_length=9), model_of("mixture")
    written = []
    for expert in (1, 2):
        model.choose(expert)
        compiled_of.cache_clear()
        written.append(compiled_of("mixture").decode(sources, options))
        assert_same(written[-1], decode(model, collate_sources(sources), options))
    assert written[0] != written[1]


@pytest.mark.parametrize("rules, given", RULES)
@pytest.mark.parametrize(
    "name, length_penalty, limit", [("gru", 1.0, 3), ("hybrid-ssru", -0.5, 3), ("transformer", 0.0, 4)]
)
def test_a_beam_as_wide_as_all_outputs_is_exhaustive(
    name: str, rules: dict[str, int], given: Given, length_penalty: float, limit: int
) -> None:
    if rules.get("min_length", 0) >= limit:
        rules = rules | {"min_length": limit - 1}
    sources = sources_of(6, tokens=VOCAB, longest=5)
    options = DecodingOptions(beam=3**4 + 3**3, n_best=5, length_penalty=length_penalty, max_length=limit, **rules)
    found = compiled_of(name, tokens=VOCAB).decode(sources, options, prefixes=given.prefixes, allowed=given.allowed)
    for row, hypotheses in enumerate(found):
        best = every_output(model_of(name, VOCAB), collate_sources(sources), options, given, row)[:5]
        assert [each.tokens for each in hypotheses] == [words for _, words in best]
        assert [each.score for each in hypotheses] == pytest.approx([score for score, _ in best], abs=1e-4)


@pytest.mark.parametrize("name", ["sru", "transformer"])
@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("rules", [{"no_repeat_ngram": 2}, {"min_length": 8, "no_repeat_ngram": 3}, {}])
def test_rules_as_in_torch(name: str, beam: int, rules: dict[str, int]) -> None:
    draw, sources = random.Random(5), sources_of(15)
    prefixes = [[draw.randrange(5, TOKENS) for _ in range(draw.randint(0, 4))] for _ in sources]
    allowed = [[draw.randrange(5, TOKENS) for _ in range(draw.randint(0, 30))] for _ in sources]
    options = DecodingOptions(beam=beam, n_best=beam, max_length=14, **rules)
    for given in (Given(), Given(prefixes=prefixes), Given(allowed=allowed), Given(prefixes=prefixes, allowed=allowed)):
        found = compiled_of(name).decode(sources, options, prefixes=given.prefixes, allowed=given.allowed)
        assert_same(found, decode(model_of(name), collate_sources(sources), options, given))


@pytest.mark.parametrize("beam", [1, 4])
def test_a_shortlist_is_all_that_there_is(beam: int) -> None:
    """The torch engine has none, but pieces that are allowed, which are the same where nothing else is given."""
    draw, sources = random.Random(6), sources_of(15)
    translations = [draw.sample(range(TOKENS), draw.randint(0, 6)) for _ in range(TOKENS)]
    eos = model_of("sru").source_ids.eos
    shortlists = [[*{word for token in [*source, eos] for word in translations[token]}] for source in sources]
    options = DecodingOptions(beam=beam, n_best=beam, max_length=14, no_repeat_ngram=2)
    expected = decode(model_of("sru"), collate_sources(sources), options, Given(allowed=shortlists))
    engine = compiled_of("sru")
    assert_same(engine.decode(sources, options, translations=translations), expected)
    assert_same(engine.decode(sources, options, allowed=shortlists, translations=[[5]] * TOKENS), expected)
    with pytest.raises(ValueError, match="the shortlist is of vocabularies of 3 and"):
        engine.decode(sources, options, translations=[[5]] * 3)


@pytest.mark.parametrize("name", MODELS)
def test_given_targets_have_the_log_probabilities_of_teacher_forcing(name: str) -> None:
    """Also of ids that are never written, and of targets and sources of very different lengths, or without words."""
    sources, targets = [[], *sources_of(40, longest=30)], [*sources_of(39, longest=40, seed=8), [], [1, 2, 7]]
    expected = mean_log_probs(model_of(name), list(zip(sources, targets, strict=True)))
    found = compiled_of(name).score(sources, targets)
    lengths = [len(target) + 1 for target in targets]
    assert [total / length for total, length in zip(found, lengths, strict=True)] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["sru", "gru", "hybrid-ssru", "transformer"])
@pytest.mark.parametrize("precision", ["int8", "bfloat16", "float32"])
def test_every_instruction_set_gives_the_same_bits(name: str, precision: str) -> None:
    """Which numbers int8 gives is compared in test_rounded_training.py and, of exports, test_exported_everywhere.py."""
    sources, options = sources_of(12), DecodingOptions(beam=3, n_best=3, max_length=15)
    found = [
        compiled_of(name, precision=precision, instructions=each).decode(sources, options) for each in engine_sets()
    ]
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("name", ["lstm", "hybrid-sru", "transformer"])
@pytest.mark.parametrize("precision, beam", [("int8", 1), ("int8", 4), ("float32", 4)])
def test_the_batch_decides_nothing(name: str, precision: str, beam: int) -> None:
    """Sentences of very different lengths, in another order and each alone: the same bits."""
    sources = sources_of(20) + sources_of(2, longest=100, seed=9)
    engine, options = compiled_of(name, precision=precision), DecodingOptions(beam=beam, n_best=beam, max_length=40)
    together, order = engine.decode(sources, options), random.Random(2).sample(range(22), 22)
    shuffled = engine.decode([sources[row] for row in order], options)
    assert [together[row] for row in order] == shuffled
    assert [engine.decode([source], options)[0] for source in sources] == together


def test_limits() -> None:
    """Of the output's length: 10 and half the source's, 14 at most; 13 at least where that leaves room."""
    sources, options = sources_of(20), DecodingOptions(beam=1, max_length=14, max_ratio=0.5, min_length=13)
    for source, (best,) in zip(sources, compiled_of("ssru").decode(sources, options), strict=True):
        limit = min(14, len(source) // 2 + 10)
        assert min(13, limit) <= len(best.tokens) <= limit


def test_long_outputs_outgrow_the_memory_they_begin_with() -> None:
    sources, options = sources_of(3), DecodingOptions(beam=3, n_best=3, max_length=200, max_ratio=100, min_length=180)
    for name in ("transformer", "sru"):
        assert_same(
            compiled_of(name).decode(sources, options),
            decode(model_of(name), collate_sources(sources), options),
            tolerance=2e-3,
        )


def test_threads_get_their_own_answers() -> None:
    engine, options = compiled_of("transformer", precision="int8"), DecodingOptions(beam=4, n_best=2, max_length=20)
    batches = [sources_of(1 + seed % 5, seed=seed) for seed in range(40)]
    alone = [engine.decode(batch, options) for batch in batches]

    def run(batch: list[list[int]]) -> list[list[Hypothesis]]:
        workspace = ctypes.c_void_p()
        assert engine.library.sd_workspace_new(ctypes.byref(workspace)) == 0
        found = [engine.decode(batch, options, workspace=workspace) for _ in range(3)]
        engine.library.sd_workspace_free(workspace)
        assert found[0] == found[1] == found[2]
        return found[0]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, batches)) == alone


def test_no_sentences_no_hypotheses() -> None:
    assert compiled_of("sru").decode([], DecodingOptions(beam=4)) == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({"prefixes": [[TOKENS]]}, f"prefixes: id {TOKENS} is outside the vocabulary of {TOKENS}"),
        ({"allowed": [[-1]]}, "allowed: id -1 is outside"),
        ({"sources": [[TOKENS + 7]]}, f"sources: id {TOKENS + 7} is outside"),
    ],
)
def test_requests_that_are_refused(change: dict[str, Any], message: str) -> None:
    engine = compiled_of("sru")
    request = {"sources": [[5, 6]]} | change
    with pytest.raises(ValueError, match=message):
        engine.decode(options=DecodingOptions(beam=1), **request)
    assert engine.decode([[5, 6]], DecodingOptions(beam=1, max_length=3))  # the workspace is still good


@pytest.mark.parametrize(
    "name, spoil, message",
    [
        ("sru", lambda parts: parts[1:], "tensor target_embedding.weight is missing"),
        ("gru", lambda parts: [p for p in parts if p.name != "key.weight"], "tensor key.weight is missing"),
        (
            "transformer",
            lambda parts: [p._replace(values=p.values[:-1]) for p in parts],
            r"tensor encoder.layers.0.self_attention.query_key_value.weight is 119 x 40, expected 120 x 40",
        ),
        ("lstm", lambda parts: [p._replace(matrix=False, values=p.values.ravel()) for p in parts], "expected a matrix"),
    ],
)
def test_models_that_are_refused(name: str, spoil: Any, message: str) -> None:
    family, parts = exported(model_of(name))
    with pytest.raises(ValueError, match=message):
        Compiled(model_of(name), spoil(parts), family, precision="float32")


def test_a_vocabulary_whose_outputs_could_not_end_is_refused() -> None:
    with pytest.raises(ValueError, match="never_written holds eos"):
        compiled_of("sru", ids=OURS._replace(never_written=(0, OURS.eos)))


LONG_CALL = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:]
from compiled import Compiled
from left_to_right import exported, model_of
from seqdistill.options import DecodingOptions
def resident(kind):
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) // 1024 for row in rows if row.startswith(kind))
model = model_of("sru")
family, parts = exported(model)
engine, options = Compiled(model, parts, family, precision="float32"), DecodingOptions(beam=1, max_length=3)
short, long = [list(range(7, 27))] * 8, [[*range(7, 87)] * 50] * 60
found, before = engine.decode(short, options), resident("VmRSS")
engine.decode(long, options)
print(resident("VmHWM") - before, resident("VmRSS") - before, engine.decode(short, options) == found)
"""


@pytest.mark.skipif(SANITIZED or not Path("/proc/self/status").exists(), reason="sanitizers keep what is freed")
def test_a_long_call_does_not_keep_its_memory() -> None:
    """60 sentences of 4,000 words need 200 MB; a workspace keeps 32 of it, and what it needs it finds again.

    In a process of its own, whose other memory stays as it is.
    """
    engine_sets()
    folder = Path(__file__).parent
    command = [sys.executable, "-c", LONG_CALL, str(folder), str(folder.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, kept, same = done.stdout.split()
    assert int(peak) > 100 and int(kept) < 50 and same == "True"
