"""Letters, words and blank lines, against Python's own table of Unicode and words counted by hand."""

import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.tokenize import tokenize

from seqdistill.text.corpus import SentencePair
from seqdistill.text.filters import FilteredPairs, Filters
from seqdistill.text.letters import (
    as_file_name,
    first_words,
    has_letter,
    is_visible,
    letters,
    letters_by_script,
    num_words,
    words,
)
from seqdistill.text.splits import source_key
from tests.scripts import UNSPACED, WORDS, characters, sentence, texts

SPACED = [name for name in WORDS if name not in UNSPACED]


@given(texts)
def test_letters_are_letters_and_marks_and_nothing_else(text):
    found = letters(text)
    assert all(unicodedata.category(one)[0] in "LM" for one in found)
    assert bool(found) == any(unicodedata.category(one)[0] == "L" for one in letters_of_python(text))


def letters_of_python(text):
    """NFKC, without what nobody sees, by the standard library and a list of the invisible letters (fillers)."""
    return [one for one in unicodedata.normalize("NFKC", text) if one not in "\u115f\u1160\u3164\uffa0"]


@given(texts)
def test_normal_forms_share_letters_and_words(text):
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    assert letters(forms[0]) == letters(forms[1])
    assert words(forms[0]) == words(forms[1])


@given(characters)
def test_control_characters_and_blanks_are_not_visible_and_letters_are(character):
    category = unicodedata.category(character)
    if category in ("Cc", "Zs", "Zl", "Zp"):
        assert not is_visible(character)
    if category[0] in "LNPS" and not regex.match(r"\p{Default_Ignorable_Code_Point}|\u2800", character):
        assert is_visible(character)


@pytest.mark.parametrize(
    "text", ["", " \t", "\u200b", "\ufeff", "\u200e\u200f", "\u2060\u00ad", "\u3164", "\u3000\u2028"]
)
def test_lines_without_anything_to_see_are_empty(text):
    assert not is_visible(text)
    for pair in ((text, "Hund"), ("dog", text)):
        stream = FilteredPairs([SentencePair(*pair)], Filters())
        assert not list(stream)
        assert stream.counts["empty"] == 1


@pytest.mark.parametrize("text", ["a", "。", "\u0600", "❤\ufe0f", "\u0301", "½"])
def test_whatever_is_drawn_is_not_empty(text):
    assert is_visible(text)


@pytest.mark.parametrize("script", SPACED)
def test_words_between_blanks(script):
    """Every word of the seven scripts with blanks is one word, its marks in their places."""
    expected = [unicodedata.normalize("NFC", word.lower()) for word in WORDS[script]]
    assert words(sentence(script, [*range(len(expected))])) == expected
    assert num_words(" ".join(expected)) == len(expected)


@pytest.mark.parametrize("script", UNSPACED)
def test_letters_of_scripts_without_blanks(script):
    """As many words as letters; joined they are the text."""
    text = sentence(script, [0, 1, 2])
    count = sum(unicodedata.category(one)[0] == "L" for one in text)
    found = words(text)
    assert (len(found), "".join(found)) == (count, text[:-1])
    assert sum(letters_by_script(text)[0].values()) == letters_by_script(text)[1] == count


@given(texts.map(lambda text: text.encode("ascii", "ignore").decode()))
def test_words_of_ascii_are_those_of_rouge_score(text):
    assert words(text) == tokenize(text, None)


def test_the_vowels_of_hindi_make_other_keys():
    """Marks were left out: all of these were one key, and 23 of 24 pairs were dropped as near-copies."""
    assert len({source_key(word) for word in ["कल", "काल", "किला", "कुल", "केला"]}) == 5
    assert len({source_key(word) for word in ["ปา", "ป่า", "ป้า"]}) == 3
    assert len({source_key(word) for word in ["তার", "তীর", "তোর"]}) == 3
    assert len({source_key(word) for word in ["كَتَبَ", "كُتُب"]}) == 2


def test_what_is_drawn_alike_is_one_key():
    assert source_key("scho\u0308n") == source_key("schön") == source_key("SCHÖN\u200b!")
    assert source_key("ｆｕｌｌ") == source_key("full")
    assert source_key("❤\ufe0f 5") != source_key("☀\ufe0f 5"), "a variation selector alone is no letter"


@pytest.mark.parametrize("script", WORDS)
def test_no_pair_of_other_words_is_a_near_copy(script):
    """One word each is validation text; of the others, none is dropped."""
    held, *rest = dict.fromkeys(WORDS[script])
    stream = FilteredPairs(
        [SentencePair(word, f"x{n}") for n, word in enumerate(rest)], Filters(), held_out_sources=[held]
    )
    assert len(list(stream)) == len(rest)


def test_names_keep_their_marks():
    assert as_file_name("हिन्दी/ไทย.txt") == "हिन्दी-ไทย.txt"


def test_marks_alone_and_digits_are_no_letters():
    assert not has_letter("12 \u0301\u20e3 !")
    assert has_letter("12 क")


@given(texts, st.integers(1, 6))
def test_a_text_cut_after_words_has_that_many(text, number):
    """As `num_words` counts them, whatever the script; what is left out begins with one more."""
    kept = first_words(text, number)
    assert num_words(kept) == min(number, num_words(text))
    assert kept == text or text.lstrip().startswith(kept)
