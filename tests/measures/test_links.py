"""Links on disk, in both directions and joined, against given files, sil-thot's, and published error rates."""

import numpy as np
import pytest

from seqdistill.errors import UserError
from seqdistill.measures.gold import agreement, read_gold
from seqdistill.measures.links import Links, link_lists, read_pharaoh, write_pharaoh
from seqdistill.measures.symmetry import HEURISTICS, symmetrize

SYSTEMS = [(language, system) for language in ("deen", "enfr", "roen") for system in ("fastalign", "giza")]
PUBLISHED = {
    ("deen", "fastalign"): (28.5, 32.0, 28.0, 31.8, 27.0, 27.7),
    ("deen", "giza"): (20.9, 23.1, 23.4, 20.9, 21.4, 20.5),
    ("enfr", "fastalign"): (16.4, 15.9, 11.2, 19.5, 10.5, 12.1),
    ("enfr", "giza"): (8.0, 9.8, 7.6, 9.9, 5.9, 6.2),
    ("roen", "fastalign"): (33.8, 35.6, 34.4, 35.0, 32.1, 32.2),
    ("roen", "giza"): (28.7, 32.2, 30.7, 30.3, 27.9, 26.4),
}
"""Percent: forward, reverse, intersection, union, grow-diagonal, grow-diagonal-final."""


def both_directions(folder, language, system):
    stem = f"{language}.{system}"
    return read_pharaoh(folder / f"{stem}.forward"), read_pharaoh(folder / f"{stem}.reverse").flipped()


@pytest.mark.parametrize(("language", "system"), SYSTEMS)
def test_union_and_intersection_equal_the_given_files(alignment_data, language, system):
    directions = both_directions(alignment_data, language, system)
    for heuristic in ("union", "intersection"):
        given = read_pharaoh(alignment_data / f"{language}.{system}.{heuristic}")
        assert list(link_lists(symmetrize(*directions, heuristic))) == list(link_lists(given))


@pytest.mark.parametrize(("language", "system"), SYSTEMS)
def test_error_rates_are_the_published_ones(alignment_data, language, system):
    """The published grow-diagonal and final add a link only where both words have none, and visit cells
    in another order, which decides a few lines."""
    directions = both_directions(alignment_data, language, system)
    gold = read_gold(alignment_data / f"{language}.gold")
    heuristics = ("forward", "reverse", "intersection", "union", "grow-diagonal-and", "grow-diagonal-and-final-and")
    for heuristic, published in zip(heuristics, PUBLISHED[language, system], strict=True):
        ours = 100 * agreement(symmetrize(*directions, heuristic), gold).error_rate
        assert ours == pytest.approx(published, abs=0.11), heuristic
    for given, heuristic in (
        ("grow-diagonal", "grow-diagonal-and"),
        ("grow-diagonal-final", "grow-diagonal-and-final-and"),
    ):
        given = read_pharaoh(alignment_data / f"{language}.{system}.{given}")
        ours = symmetrize(*directions, heuristic)
        same = sum(ours.pair(at) == given.pair(at) for at in range(given.num_pairs))
        assert same >= 0.96 * given.num_pairs


def test_growing_and_finishing_by_matrices():
    """Free words are looked up in the matrix of links, cell by cell."""
    generator = np.random.default_rng(3)
    for _ in range(200):
        one, other = generator.random((2, 5, 4)) < 0.4
        links, grown = one & other, True
        while grown:
            grown = False
            for i, j in np.argwhere((one | other) & ~links):
                free = not links[i].any() and not links[:, j].any()
                if free and links[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].any():
                    links[i, j] = grown = True
        for direction in (one, other):
            for i, j in np.argwhere(direction):
                links[i, j] |= not links[i].any() and not links[:, j].any()
        forward, reverse = ({(int(i), int(j)) for i, j in np.argwhere(side)} for side in (one, other))
        expected = {(int(i), int(j)) for i, j in np.argwhere(links)}
        assert HEURISTICS["grow-diagonal-and-final-and"](forward, reverse) == expected


def test_growing_equals_sil_thots(alignment_data):
    common = pytest.importorskip("thot.common", exc_type=ImportError)
    forward, reverse = both_directions(alignment_data, "roen", "fastalign")
    methods = {
        "grow-diagonal": "grow_diag",
        "grow-diagonal-final": "grow_diag_final",
        "grow-diagonal-final-and": "grow_diag_final_and",
    }
    for heuristic, method in methods.items():
        ours = symmetrize(forward, reverse, heuristic)
        for at in range(forward.num_pairs):
            one, other = (matrix_of(common, links.pair(at)) for links in (forward, reverse))
            getattr(one, method)(other)
            found = sorted(zip(*(axis.tolist() for axis in np.nonzero(one.to_numpy())), strict=True))
            assert found == ours.pair(at), (heuristic, at)


def matrix_of(common, links):
    matrix = common.WordAlignmentMatrix(100, 100)
    for i, j in links:
        matrix.set(i, j)
    return matrix


def test_growing_by_hand():
    """Intersection 0-0; 1-0 is beside it with a source word of its own, 2-2 touches nothing, 1-1 both."""
    forward, reverse = Links.from_lists([[(0, 0), (1, 0), (2, 2)]]), Links.from_lists([[(0, 0), (0, 1)]])
    expected = {
        "forward": [(0, 0), (1, 0), (2, 2)],
        "reverse": [(0, 0), (0, 1)],
        "intersection": [(0, 0)],
        "union": [(0, 0), (0, 1), (1, 0), (2, 2)],
        "grow-diagonal": [(0, 0), (0, 1), (1, 0)],
        "grow-diagonal-and": [(0, 0)],
        "grow-diagonal-final": [(0, 0), (0, 1), (1, 0), (2, 2)],
        "grow-diagonal-final-and": [(0, 0), (0, 1), (1, 0), (2, 2)],
        "grow-diagonal-and-final-and": [(0, 0), (2, 2)],
    }
    assert expected.keys() == HEURISTICS.keys()
    for heuristic, links in expected.items():
        assert symmetrize(forward, reverse, heuristic).pair(0) == links, heuristic


def test_error_rate_by_hand(tmp_path):
    (tmp_path / "gold").write_text("1-1 2?2 3p1\n\n")
    gold = read_gold(tmp_path / "gold")
    assert gold[0].sure == {(0, 0)}
    assert gold[0].possible == {(0, 0), (1, 1), (2, 0)}
    found = agreement(Links.from_lists([[(0, 0), (1, 1), (0, 2)], [(0, 0)]]), gold)
    assert found.error_rate == pytest.approx(1 - (1 + 2) / (4 + 1))
    assert (found.precision, found.recall) == (0.5, 1.0)


def test_round_trip(tmp_path, make_bitext):
    links = Links.from_lists([[(1, 0), (0, 2), (1, 0)], [], [(3, 3)]])
    write_pharaoh(tmp_path / "links", links, make_bitext([("a b", "x y z"), ("a", "x"), ("a b c d", "x y z w")]))
    assert (tmp_path / "links").read_text() == "0-2 1-0\n\n3-3\n"
    again = read_pharaoh(tmp_path / "links")
    assert list(link_lists(again)) == list(link_lists(links)) == [[(0, 2), (1, 0)], [], [(3, 3)]]
    assert list(link_lists(links.flipped())) == [[(0, 1), (2, 0)], [], [(3, 3)]]
    assert list(link_lists(links.flipped().flipped())) == list(link_lists(links))


def test_lines_keep_their_numbers(tmp_path, make_bitext):
    """A line without a pair is an empty line: the third line of links was of the fifth line of the text."""
    bitext = make_bitext([("", "x"), ("a b", "x y"), ("", ""), ("a", "x"), ("a b", "x y"), ("a", "")])
    links = Links.from_lists([[(0, 0), (1, 1)], [], [(1, 0)]])
    write_pharaoh(tmp_path / "links", links, bitext)
    assert (tmp_path / "links").read_text() == "\n0-0 1-1\n\n\n1-0\n\n"
    again = read_pharaoh(tmp_path / "links", bitext)
    assert list(link_lists(again)) == list(link_lists(links)) and again.num_pairs == len(bitext)


def test_bad_links(tmp_path, make_bitext):
    bitext = make_bitext([("a b", "x"), ("", ""), ("a", "x y")])
    file = tmp_path / "links"
    for text, message in (
        ("0-0 1:0\n0-0\n", "line 1: '1:0' is no link; expected positions from 0"),
        ("0-0\n", "1 lines of links but 3 lines in toy"),
        ("0-0\n\n0-2\n", "line 3: link 0-2, but this line of toy has 1 source and 2 target words"),
        ("0-0\n0-0\n0-0\n", "line 2: links, but this line of toy has no sentence pair"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            read_pharaoh(file, bitext)
    file.write_text("0-0 1-0\n\n0-1\n")
    assert read_pharaoh(file, bitext).pair(1) == [(0, 1)]


def test_bad_gold(tmp_path):
    file = tmp_path / "gold"
    for text, message in (
        ("1-1\n1=1\n", "line 2: '1=1' is no gold link"),
        ("0-1\n", "line 1: '0-1' has a position below 1.*first=0"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            read_gold(file)
    file.write_text("1?1\n")
    one = Links.from_lists([[(0, 0)]])
    with pytest.raises(UserError, match="no sure link"):
        agreement(one, read_gold(file))
    with pytest.raises(UserError, match="1 aligned pairs but 2 lines of gold"):
        agreement(one, read_gold(file) * 2)


def test_bad_symmetrisation():
    one, two = Links.from_lists([[]]), Links.from_lists([[], []])
    with pytest.raises(UserError, match="did you mean 'union'"):
        symmetrize(one, one, "unoin")
    with pytest.raises(UserError, match="1 pairs have forward links but 2 have reverse"):
        symmetrize(one, two, "union")
