"""Language posteriors: closed forms, a slow loop, and what of real text they recognise."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from seqdistill.errors import UserError
from seqdistill.measures.modes import LanguageModels, halfway, language_models, single_language
from seqdistill.measures.tokenizers import create_tokenizer
from seqdistill.text.lines import read_lines

PLAIN = create_tokenizer(name="none")


def models(**texts: list[str]) -> LanguageModels:
    return language_models(texts, PLAIN, smoothing=0.5)


def test_two_languages_by_hand() -> None:
    """de: a a b, fr: b c; three words, half a count added to each: p(a|de) = 2.5/4.5, p(a|fr) = .5/3.5."""
    found = models(de=["a a", "b"], fr=["b c"])
    assert found.languages == ("de", "fr") and list(found.vocabulary) == ["a", "b", "c"]
    assert found.counts.tolist() == [[2, 1, 0], [0, 1, 1]]
    de = {"a": 2.5 / 4.5, "b": 1.5 / 4.5, "c": 0.5 / 4.5}
    fr = {"a": 0.5 / 3.5, "b": 1.5 / 3.5, "c": 1.5 / 3.5}
    of_de = {word: de[word] / (de[word] + fr[word]) for word in de}
    assert found.word_posteriors()[:, 0] == pytest.approx(list(of_de.values()))
    posteriors = found.posteriors(["a b a", "c"])
    assert posteriors.values[:, 0] == pytest.approx([(2 * of_de["a"] + of_de["b"]) / 3, of_de["c"]])
    assert posteriors.values.sum(axis=1) == pytest.approx([1, 1])


def test_disjoint_languages_without_much_smoothing_are_certain() -> None:
    found = language_models({"de": ["a b"], "fr": ["c d"], "es": ["e f"]}, PLAIN, smoothing=1e-9)
    values = found.posteriors(["a b", "c c", "a c e", "a d"]).values
    assert values == pytest.approx(np.array([[1, 0, 0], [0, 1, 0], [1 / 3] * 3, [0.5, 0.5, 0]]), abs=1e-6)


def test_the_same_text_twice_tells_nothing() -> None:
    text = ["a b c a", "b b"]
    assert models(de=text, fr=text, es=text).posteriors(["a", "b c"]).values == pytest.approx(1 / 3)
    longer = language_models({"de": text, "fr": text * 50}, PLAIN, smoothing=1e-9)
    assert longer.posteriors(["a", "c b"]).values == pytest.approx(0.5)


def test_an_unknown_word_is_uniform_however_long_the_texts() -> None:
    found = models(de=["a"], fr=["b"] * 1000)
    posteriors = found.posteriors(["x", "x y", "a x"])
    assert posteriors.values[:2] == pytest.approx(0.5)
    known = found.posteriors(["a"]).values[0, 0]
    assert posteriors.values[2, 0] == pytest.approx((known + 0.5) / 2)
    assert posteriors.num_unknown.tolist() == [1, 2, 1] and posteriors.num_words.tolist() == [1, 2, 2]
    assert "unknown:uniform" in found.signature and "add-0.5" in found.signature and "tok:none" in found.signature


def test_only_words_with_a_letter_count() -> None:
    found = models(de=["a , 7"], fr=["b . 7 , , ,"])
    assert list(found.vocabulary) == ["a", "b"]
    with_signs, without = found.posteriors(["a , , 12 ."]), found.posteriors(["a"])
    assert with_signs.values.tolist() == without.values.tolist() and with_signs.num_words.tolist() == [1]


def test_lines_without_words() -> None:
    found = models(de=["a"], fr=["b"]).posteriors(["a", "", " 5 ?", "b"])
    assert np.isnan(found.values[1:3]).all() and found.num_words.tolist() == [1, 0, 0, 1]
    assert found.with_words().tolist() == found.values[[0, 3]].tolist()
    nothing = models(de=["a"], fr=["b"]).posteriors([])
    assert nothing.values.shape == (0, 2) and len(nothing.num_words) == 0


def slow(texts: dict[str, list[str]], line: str, smoothing: float) -> list[float]:
    """The formulas word by word."""
    counts = {name: Counter(word for text in lines for word in text.split()) for name, lines in texts.items()}
    words = {word for count in counts.values() for word in count}

    def chance(word: str, name: str) -> float:
        return (counts[name][word] + smoothing) / (sum(counts[name].values()) + smoothing * len(words))

    parts: list[list[float]] = []
    for word in line.split():
        if word in words:
            total = math.fsum(chance(word, name) for name in texts)
            parts.append([chance(word, name) / total for name in texts])
        else:
            parts.append([1 / len(texts)] * len(texts))
    return [math.fsum(part[at] for part in parts) / len(parts) for at in range(len(texts))]


@pytest.mark.parametrize("languages", [2, 3, 5])
def test_against_a_slow_loop(languages: int) -> None:
    chance = random.Random(languages)
    letters = "abcdefghijkl"

    def lines(own: str, count: int) -> list[str]:
        return [" ".join(chance.choices(own, k=chance.randint(1, 8))) for _ in range(count)]

    names = [f"l{number}" for number in range(languages)]
    texts = {name: lines(letters[at : at + 6], 3 + 4 * at) for at, name in enumerate(names)}
    outputs = lines(letters + "zyx", 40)
    for smoothing in (0.01, 2.0):
        found = language_models(texts, PLAIN, smoothing=smoothing).posteriors(outputs).values
        assert found == pytest.approx(np.array([slow(texts, line, smoothing) for line in outputs]))


def test_the_order_of_words_and_of_lines_of_text_does_not_matter() -> None:
    one = models(de=["a b", "c"], fr=["c d"]).posteriors(["a c d"]).values
    other = models(de=["c", "b a"], fr=["d c"]).posteriors(["d a c"]).values
    assert one == pytest.approx(other)
    swapped = models(fr=["c d"], de=["a b", "c"]).posteriors(["a c d"]).values
    assert swapped[:, ::-1] == pytest.approx(one)


def test_single_language_counts_by_hand() -> None:
    found = models(de=["a b"] * 9, fr=["c d"] * 9).posteriors(["a b", "a c", "c", "d d c", "", "x"])
    counted = single_language(found, ("de", "fr"))
    assert counted.threshold == halfway(2) == 0.75
    assert counted.by_language == {"de": 1, "fr": 2} and counted.share.percent == pytest.approx(60)
    assert 0 < counted.share.low < 60 < counted.share.high < 100
    assert halfway(3) == pytest.approx(2 / 3)
    strict = single_language(found, ("de", "fr"), threshold=0.99)
    assert strict.share.percent == 0 and strict.by_language == {"de": 0, "fr": 0}


@pytest.mark.parametrize("threshold", [0.49, 1.0, -1.0])
def test_thresholds_that_do_not_choose(threshold: float) -> None:
    found = models(de=["a"], fr=["b"]).posteriors(["a"])
    with pytest.raises(UserError, match=r"expected 0\.5 or more, so that no output is in two languages"):
        single_language(found, ("de", "fr"), threshold=threshold)


def test_faulty_texts() -> None:
    with pytest.raises(UserError, match=r"1 language \(de\): expected two or more"):
        models(de=["a"])
    with pytest.raises(UserError, match="language fr: its text has no words"):
        models(de=["a"], fr=["", "12"])
    with pytest.raises(UserError, match=r"smoothing = 0\.0: expected a number above 0"):
        language_models({"de": ["a"], "fr": ["b"]}, PLAIN, smoothing=0.0)
    with pytest.raises(UserError, match="none of the outputs has a word"):
        single_language(models(de=["a"], fr=["b"]).posteriors([" "]), ("de", "fr"))


def test_real_captions_are_in_one_language_and_mixed_ones_are_not(shared_data: Path) -> None:
    """Trained on validation text, asked about test text: 1,000 lines of each, and lines of both's words in turn."""
    folder, tokenizer = shared_data / "multi30k", create_tokenizer(name="13a", lowercase=True)
    names = ("de", "fr")
    found = language_models({name: read_lines(folder / f"val.{name}.gz") for name in names}, tokenizer, smoothing=0.01)
    tests = [list(read_lines(folder / f"test_2016_flickr.{name}.gz")) for name in names]
    for at, lines in enumerate(tests):
        posteriors = found.posteriors(lines)
        assert (posteriors.values.argmax(axis=1) == at).mean() > 0.99
        counted = single_language(posteriors, names)
        assert counted.share.percent > 90 and counted.by_language[names[1 - at]] == 0
    mixed = []
    for pair in zip(*tests, strict=True):
        words = [line.split() for line in pair]
        mixed.append(" ".join(words[at % 2][at] for at in range(min(map(len, words)))))
    assert single_language(found.posteriors(mixed), names).share.percent < 10
