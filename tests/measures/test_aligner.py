"""The aligner against EM by hand in plain Python, against sil-thot, and against itself in other orders and threads."""

import itertools
import math
import random
from collections import defaultdict

import numpy as np
import pytest
import torch

from seqdistill.errors import UserError
from seqdistill.measures import cells as cells_module
from seqdistill.measures.aligner import FORWARD, REVERSE, best_links, train
from seqdistill.measures.alignment import align
from seqdistill.measures.cells import Cells, distinct
from seqdistill.measures.complexity import complexity, faithfulness
from seqdistill.measures.diagonal import distances, fit_tension, prior
from seqdistill.measures.expectation import digamma
from seqdistill.measures.links import Links
from seqdistill.options import AlignerOptions

TOY = [
    ("a b", "x y"),
    ("b c a", "y z z x"),
    ("c", "z"),
    ("a a c", "x x z"),
    ("b a", "x y"),
    ("d b c a", "w y x"),
]


def delta(i: int, j: int, sources: int, targets: int, options: AlignerOptions) -> float:
    """Equations 1 and 2 of Dyer et al. 2013, one position at a time."""
    weights = [math.exp(-options.tension * abs(k / sources - j / targets)) for k in range(1, sources + 1)]
    return (1 - options.p0) * weights[i - 1] / sum(weights)


def em_by_hand(pairs: list[tuple[str, str]], options: AlignerOptions) -> tuple[dict, list[float], list[list[int]]]:
    """The table with NULL (None) as a row, log-likelihoods, and the most probable link of each target word.

    Iterations as in fast_align's main loop: the last one goes through the text for its links, and fits nothing.
    """
    table = defaultdict(lambda: defaultdict(float))
    vocabulary = {word for _, target in pairs for word in target.split()}
    for source, target in pairs:
        for word in [None, *source.split()]:
            for other in target.split():
                table[word][other] = 1 / len(vocabulary)
    likelihoods = []

    def scores(source, target, j):
        found = [options.p0 * table[None][target[j]]]
        for i, word in enumerate(source):
            found.append(delta(i + 1, j + 1, len(source), len(target), options) * table[word][target[j]])
        return found

    split = [(source.split(), target.split()) for source, target in pairs]
    for _ in range(options.em_iterations - 1):
        counts = defaultdict(lambda: defaultdict(float))
        likelihood = 0.0
        for source, target in split:
            for j, word in enumerate(target):
                found = scores(source, target, j)
                likelihood += math.log(sum(found))
                for generating, score in zip([None, *source], found, strict=True):
                    counts[generating][word] += score / sum(found)
        likelihoods.append(likelihood)
        for generating, row in counts.items():
            total = sum(count + options.alpha for count in row.values())
            for word, count in row.items():
                if options.alpha:
                    logs = torch.digamma(torch.tensor([count + options.alpha, total], dtype=torch.float64))
                    table[generating][word] = math.exp(logs[0] - logs[1])
                else:
                    table[generating][word] = count / total
    best = []
    for source, target in split:
        found = [scores(source, target, j) for j in range(len(target))]
        best.append([max(range(len(row)), key=lambda at, row=row: row[at]) - 1 for row in found])
    return table, likelihoods, best


@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_em_equals_em_by_hand(make_bitext, alpha):
    options = AlignerOptions(em_iterations=4, alpha=alpha)
    bitext = make_bitext(TOY)
    cells = Cells(bitext)
    model = train(cells, FORWARD, options)
    table, likelihoods, best = em_by_hand(TOY, options)
    assert model.log_likelihoods == pytest.approx(likelihoods)
    assert cells.num_entries == sum(len(row) for word, row in table.items() if word is not None)
    for row, word in enumerate(bitext.source.words):
        own = slice(cells.row_starts[row], cells.row_starts[row + 1])
        names = [bitext.target.words[target] for target in cells.targets[own]]
        assert dict(zip(names, model.table[own].tolist(), strict=True)) == pytest.approx(table[word], rel=1e-5)
    null = dict(zip(bitext.target.words, model.null.tolist(), strict=True))
    assert null == pytest.approx(table[None])
    assert best_links(cells, model).tolist() == list(itertools.chain(*best))


@pytest.mark.parametrize("options", [AlignerOptions(alpha=0.0), AlignerOptions(alpha=0.0, em_iterations=6)])
def test_complexity_and_faithfulness_are_those_of_fast_aligns_iterations(make_bitext, options):
    """Its -I 5 fits the model four times: five gave other figures (C 1.273 on captions, not 1.189)."""
    distilled = [*TOY[:1], ("b c a", "y z x"), *TOY[2:4], ("b a", "y x"), ("d b c a", "w y z x")]
    rows = [em_by_hand(pairs, options)[0] for pairs in (TOY, distilled)]
    real, other = (align(make_bitext(pairs), options).table for pairs in (TOY, distilled))
    by_hand = [
        {word: {y: p for y, p in row.items() if p > 0} for word, row in table.items() if word is not None}
        for table in rows
    ]
    entropies = [-sum(p * math.log(p) for p in row.values()) for row in by_hand[0].values()]
    assert complexity(real) == pytest.approx(sum(entropies) / len(entropies), rel=1e-5)
    assert options.signature.startswith(f"model:fast_align|I:{options.em_iterations}|")
    words = [word for pairs in (TOY, distilled) for _, target in pairs for word in target.split()]
    common = {word: words.count(word) / len(words) for word in words}

    def divergence(p: dict, q: dict) -> float:
        mixed = [{y: 0.99 * row.get(y, 0.0) + 0.01 * common[y] for y in common} for row in (p, q)]
        return sum(mixed[0][y] * math.log(mixed[0][y] / mixed[1][y]) for y in common)

    divergences = [divergence(by_hand[0][word], by_hand[1][word]) for word in by_hand[0]]
    assert faithfulness(real, other).value == pytest.approx(sum(divergences) / len(divergences), rel=1e-4)


def test_reverse_is_forward_of_the_flipped_corpus(make_bitext):
    flipped = make_bitext([(target, source) for source, target in TOY])
    there, back = Cells(make_bitext(TOY)), Cells(flipped)
    reverse, forward = train(there, REVERSE), train(back, FORWARD)
    assert reverse.log_likelihoods == pytest.approx(forward.log_likelihoods)
    assert best_links(there, reverse).tolist() == best_links(back, forward).tolist()
    assert np.sort(reverse.table) == pytest.approx(np.sort(forward.table))


def test_likelihood_never_falls(captions):
    model = train(Cells(captions), FORWARD, AlignerOptions(alpha=0.0, em_iterations=8))
    assert all(later >= earlier for earlier, later in itertools.pairwise(model.log_likelihoods))


def test_threads_and_chunks(captions, monkeypatch):
    """Threads change no bit; smaller chunks only the order of additions."""
    one, many = align(captions), align(captions, workers=3)
    assert np.array_equal(one.table.probabilities, many.table.probabilities)
    for direction in ("forward", "reverse"):
        for left, right in zip(getattr(one, direction), getattr(many, direction), strict=True):
            assert np.array_equal(left, right)
    monkeypatch.setattr(cells_module, "CHUNK_CELLS", 1000)
    monkeypatch.setattr(cells_module, "_BLOCK", 700)
    small = align(captions)
    assert np.array_equal(small.table.targets, one.table.targets)
    assert small.table.probabilities == pytest.approx(one.table.probabilities, rel=1e-4, abs=1e-9)


def test_the_order_of_sentences_does_not_matter(make_bitext, captions):
    pairs = [(" ".join(captions.source.sentence(at)), " ".join(captions.target.sentence(at))) for at in range(300)]
    shuffled = pairs.copy()
    random.Random(3).shuffle(shuffled)
    tables = [align(make_bitext(rows)).table for rows in (pairs, shuffled)]
    assert tables[0].source_words == tables[1].source_words
    assert np.array_equal(tables[0].targets, tables[1].targets)
    assert tables[0].probabilities == pytest.approx(tables[1].probabilities, rel=1e-4, abs=1e-9)


def test_sil_thots_first_iteration_is_ours(captions):
    """Later ones differ: its tension moves by a derivative with the two lengths swapped."""
    alignment = pytest.importorskip("thot.alignment", exc_type=ImportError)
    theirs = alignment.FastAlignModel()
    theirs.variational_bayes = True
    sentences = [(captions.source.sentence(at), captions.target.sentence(at)) for at in range(len(captions))]
    for source, target in sentences:
        theirs.add_sentence_pair(source, target, 1)
    theirs.start_training()
    theirs.train()
    theirs.end_training()
    cells = Cells(captions)
    model = train(cells, FORWARD, AlignerOptions(em_iterations=2))
    ours = Links.from_best(captions.target, best_links(cells, model), generated_target=True)
    found = theirs.get_best_alignments([source for source, _ in sentences], [target for _, target in sentences])
    matrices = [matrix.to_numpy() for _, matrix in found]
    links = Links.from_lists([zip(*(axis.tolist() for axis in np.nonzero(matrix)), strict=True) for matrix in matrices])
    same = sum(len(set(ours.pair(at)) & set(links.pair(at))) for at in range(len(captions)))
    assert same > 0.99 * max(len(ours.source), len(links.source))


def test_prior():
    weights = prior(3, 4, tension=2.0, p0=0.2)
    assert weights.sum(axis=0) == pytest.approx(0.8)
    by_hand = math.exp(-2 * abs(2 / 3 - 3 / 4)) / sum(math.exp(-2 * abs(i / 3 - 3 / 4)) for i in (1, 2, 3))
    assert weights[1, 2] == pytest.approx(0.8 * by_hand)
    assert distances(2, 2).tolist() == [[0, 0.5], [0.5, 0]]


def test_tension_rests_where_links_are_as_far_as_expected():
    weights = prior(5, 4, tension=3.0, p0=0.5) * 2
    mean = float((weights * distances(5, 4)).sum() / 4)
    assert fit_tension(mean, {(5, 4): 7}, 3.0) == pytest.approx(3.0)
    assert 3.0 < fit_tension(0.9 * mean, {(5, 4): 7}, 3.0) <= 14
    assert fit_tension(1.0, {(5, 4): 7}, 3.0) == pytest.approx(0.1)


def test_fitted_tension_is_used(captions):
    cells = Cells(captions)
    assert train(cells, FORWARD).tension == 4.0
    assert train(cells, FORWARD, AlignerOptions(fit_tension=True)).tension > 4.0


def test_digamma():
    x = np.concatenate([np.geomspace(1e-3, 10, 500), np.geomspace(10, 1e8, 100)])
    assert digamma(x) == pytest.approx(torch.digamma(torch.from_numpy(x)).numpy(), rel=1e-9, abs=1e-9)


def test_distinct_cuts_across_blocks(monkeypatch):
    monkeypatch.setattr(cells_module, "_BLOCK", 5)
    keys = np.random.default_rng(1).integers(0, 30, size=97)
    assert distinct(keys.copy()).tolist() == sorted(set(keys.tolist()))


@pytest.mark.parametrize(
    "given",
    [
        {"em_iterations": 1},
        {"p0": 0.0},
        {"p0": 1.0},
        {"tension": 0.0},
        {"tension": 20.0},
        {"alpha": -1.0},
        {"alpha": math.inf},
        {"table_alpha": math.nan},
    ],
)
def test_bad_options(given):
    with pytest.raises(UserError, match=f"'{next(iter(given))}': Input should be"):
        AlignerOptions(**given)


def test_links_are_of_one_model_and_the_table_of_another(make_bitext):
    bitext = make_bitext(TOY * 3)
    both = align(bitext, AlignerOptions(alpha=0.01, table_alpha=0.0))
    with_prior, without = (align(bitext, AlignerOptions(alpha=alpha, table_alpha=alpha)) for alpha in (0.01, 0.0))
    assert np.array_equal(both.forward.source, with_prior.forward.source)
    assert np.array_equal(both.reverse.target, with_prior.reverse.target)
    assert np.array_equal(both.table.probabilities, without.table.probabilities)
    assert "vb:0.0|" in both.table.signature and "vb:0.01" in both.counted_table().signature
    assert not np.array_equal(with_prior.table.probabilities, without.table.probabilities)
