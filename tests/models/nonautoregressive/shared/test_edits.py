"""Edit paths against the enumeration of all paths between all short sentences, and what applying them gives."""

import itertools
from collections.abc import Iterator, Sequence
from functools import cache

import pytest
import torch
from torch import Tensor

from seqdistill.models.interface import Canvas
from seqdistill.models.nonautoregressive.shared.edits import (
    edit_path,
    placeholder_counts,
    random_part,
    with_placeholders,
)
from seqdistill.models.nonautoregressive.shared.slots import compacted, filled, with_room
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import MASK, PAD, UNK

Words = tuple[int, ...]


def short(letters: int, longest: int) -> list[Words]:
    """All sentences of so many different words, up to this length."""
    return [words for n in range(longest + 1) for words in itertools.product(range(5, 5 + letters), repeat=n)]


def padded(sentences: Sequence[Words], width: int = 0) -> Tensor:
    width = max(width, *map(len, sentences))
    return torch.tensor([[*words, *[PAD] * (width - len(words))] for words in sentences], dtype=torch.int64)


@cache
def scripts(current: Words, target: Words) -> list[str]:
    """Every way to turn one into the other, read from the ends; i(nsert), d(elete), k(eep)."""
    if not current and not target:
        return [""]
    found = []
    if target:
        found += ["i" + rest for rest in scripts(current, target[:-1])]
    if current:
        found += ["d" + rest for rest in scripts(current[:-1], target)]
    if current and target and current[-1] == target[-1]:
        found += ["k" + rest for rest in scripts(current[:-1], target[:-1])]
    return found


def oracle(current: Words, target: Words) -> list[int]:
    """Of the shortest scripts the first, where inserting comes before deleting and deleting before keeping."""
    script = min(scripts(current, target), key=lambda s: (len(s) - s.count("k"), ["idk".index(step) for step in s]))
    positions, end = [], len(target)
    for step in script:
        if step == "d":
            positions.append(-1)
        else:
            end -= 1
            if step == "k":
                positions.append(end)
    return positions[::-1]


def paths(pairs: Sequence[tuple[Words, Words]]) -> Iterator[list[int]]:
    """All in one batch."""
    found = edit_path(padded([current for current, _ in pairs]), padded([target for _, target in pairs]), padding=PAD)
    for (current, _), row in zip(pairs, found.tolist(), strict=True):
        assert set(row[len(current) :]) <= {-1}
        yield row[: len(current)]


@pytest.mark.parametrize(("letters", "longest"), [(1, 6), (2, 4), (3, 3)])
def test_cheapest_and_tied_as_documented_between_all_short_sentences(letters: int, longest: int) -> None:
    pairs = list(itertools.product(short(letters, longest), repeat=2))
    for (current, target), found in zip(pairs, paths(pairs), strict=True):
        assert found == oracle(current, target), (current, target)


@pytest.mark.parametrize(
    ("current", "target", "expected"),
    [
        ("abc", "abc", [0, 1, 2]),
        ("abc", "xyz", [-1, -1, -1]),
        ("a", "aa", [0]),  # inserted at the end first
        ("aa", "a", [0, -1]),  # deleted at the end first
        ("ab", "ba", [0, -1][::-1]),  # both keep one: the end inserts a, deletes nothing, keeps b
        ("abcab", "acb", [0, -1, 1, -1, 2]),
    ],
)
def test_ties_by_hand(current: str, target: str, expected: list[int]) -> None:
    (found,) = paths([(tuple(map(ord, current)), tuple(map(ord, target)))])
    assert found == expected


@pytest.mark.parametrize("longest", [7, 8, 63, 64, 200])
def test_long_sentences_against_the_table_of_common_subsequences(longest: int) -> None:
    """Rows of every length side by side, wider than a machine word, with repeated words and words of large numbers."""
    torch.manual_seed(longest)
    lengths = [*torch.randint(0, longest + 1, (9, 2)).tolist(), [longest, longest], [0, longest], [longest, 0]]
    words = torch.tensor([UNK, 5, 6, 7, 40_000, 70_000])
    pairs = [tuple(tuple(words[torch.randint(6, (n,))].tolist()) for n in pair) for pair in lengths]
    for (current, target), found in zip(pairs, paths(pairs), strict=True):
        assert found == traced(current, target)


def traced(current: Words, target: Words) -> list[int]:
    """The textbook's table, cell by cell, and the path through it from its last cell."""
    common = [[0] * (len(target) + 1) for _ in range(len(current) + 1)]
    for i, word in enumerate(current):
        for j, other in enumerate(target):
            common[i + 1][j + 1] = common[i][j] + 1 if word == other else max(common[i][j + 1], common[i + 1][j])
    positions, i, j = [-1] * len(current), len(current), len(target)
    while i or j:
        if j and common[i][j - 1] == common[i][j]:
            j -= 1
        elif i and common[i - 1][j] == common[i][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            positions[i] = j
    return positions


def test_applying_a_path_gives_the_target() -> None:
    """Delete, insert as many placeholders as counted, write the missing words: between all short sentences at once."""
    pairs = list(itertools.product(short(3, 3), repeat=2))
    current, target = padded([pair[0] for pair in pairs], 5), padded([pair[1] for pair in pairs], 4)
    path = edit_path(current, target, padding=PAD)
    keep = path >= 0
    kept, positions = compacted(current, keep), compacted(path + 1, keep) - 1
    counts = placeholder_counts(positions, (target != PAD).sum(1))
    canvas = Canvas(kept, kept * 0.0, torch.zeros(len(kept)), torch.zeros(len(kept)).long())
    masked = with_room(canvas, counts, OURS)
    assert (masked.tokens == MASK).sum() + keep.sum() == (target != PAD).sum()
    assert torch.equal(masked.tokens, with_placeholders(target, positions, OURS)[:, : masked.tokens.shape[1]])
    missing = target[:, : masked.tokens.shape[1]][masked.tokens == MASK]
    written = filled(masked, missing, torch.zeros(len(missing)), OURS)
    assert torch.equal(written.tokens, target[:, :3])


def test_a_part_of_the_target_loses_nothing() -> None:
    """However it was drawn, its words are all kept, in order, at the leftmost places that leave room."""
    torch.manual_seed(0)
    target = padded([(5, 6, 5, 5, 7), (5, 5), (8,)] * 40)
    part = compacted(target, random_part(target, padding=PAD))
    path = edit_path(part, target, padding=PAD)
    assert torch.equal(path < 0, part == PAD)
    assert (path.diff(dim=1)[part[:, 1:] != PAD] > 0).all()


def test_no_tokens_at_all() -> None:
    none, some = torch.zeros(3, 0, dtype=torch.int64), padded([(5, 6), (7,), ()])
    assert edit_path(none, some, padding=PAD).shape == (3, 0)
    assert edit_path(some, none, padding=PAD).tolist() == [[-1, -1]] * 3
    assert edit_path(none[:, :0], none, padding=PAD).shape == (3, 0)
    assert placeholder_counts(none, torch.tensor([2, 1, 0])).tolist() == [[2], [1], [0]]
    assert with_placeholders(some, none, OURS).tolist() == [[MASK, MASK], [MASK, PAD], [PAD, PAD]]


def test_placeholders_by_hand() -> None:
    positions = torch.tensor([[1, 4, -1], [0, 1, 2], [-1, -1, -1]])
    lengths = torch.tensor([6, 3, 2])
    assert placeholder_counts(positions, lengths).tolist() == [[1, 2, 1, 0], [0, 0, 0, 0], [2, 0, 0, 0]]
    target = padded([(5, 6, 7, 8, 9, 10), (5, 6, 7), (UNK, 5)])
    assert with_placeholders(target, positions, OURS).tolist() == [
        [MASK, 6, MASK, MASK, 9, MASK],
        [5, 6, 7, PAD, PAD, PAD],
        [MASK, MASK, PAD, PAD, PAD, PAD],
    ]


class TestRandomPart:
    def test_sizes_are_uniform_and_so_are_the_parts_of_a_size(self) -> None:
        """Of three words: each size has a quarter, each part of one word a twelfth. Within 5 standard deviations."""
        torch.manual_seed(0)
        rows = 40_000
        parts = random_part(torch.tensor([[5, 6, 7, PAD, PAD]]).expand(rows, -1), padding=PAD)
        assert not parts[:, 3:].any()
        codes = (parts[:, :3] * torch.tensor([1, 2, 4])).sum(1).bincount(minlength=8) / rows
        for code, share in enumerate(codes.tolist()):
            expected = 1 / 4 / (1, 3, 3, 1)[code.bit_count()]
            assert share == pytest.approx(expected, abs=5 * (expected / rows) ** 0.5)

    def test_one_word_and_none(self) -> None:
        torch.manual_seed(0)
        parts = random_part(torch.tensor([[5], [PAD]]).repeat(200, 1), padding=PAD)
        assert 70 < int(parts[::2].sum()) < 130
        assert not parts[1::2].any()

    def test_follows_the_global_generator(self) -> None:
        target, parts = torch.full((20, 9), 5), []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            parts.append(random_part(target, padding=PAD))
        assert torch.equal(parts[0], parts[1]) and not torch.equal(parts[0], parts[2])
