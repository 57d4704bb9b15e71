"""Languages and their words: codes in every spelling, and the tokeniser guessed from letters."""

import pytest
import sacrebleu

from seqdistill.errors import UserError
from seqdistill.options import PrepareOptions
from seqdistill.text.languages import LANGUAGES, Languages, base_code, guessed_tokenizer, words_of
from tests.scripts import LANGUAGES as OF_SCRIPT
from tests.scripts import UNSPACED, sentence


@pytest.mark.parametrize(
    ("code", "base"),
    [("de", "de"), ("pt-BR", "pt"), ("zh_TW", "zh"), ("zho_Hans", "zh"), ("yue", "zh"), ("jpn_Jpan", "ja"), ("", "")],
)
def test_codes(code, base):
    assert base_code(code) == base
    assert PrepareOptions(target_language=code).target_language == code


@pytest.mark.parametrize("code", ["german", "d", "de ", "zh/Hans", "日本"])
def test_what_is_no_code_is_refused(code):
    with pytest.raises(UserError, match="expected the code of a language, such as de"):
        PrepareOptions(target_language=code)


def test_tokenisers_are_sacrebleus_for_the_languages_it_knows():
    known = sacrebleu.BLEU._TOKENIZER_MAP
    assert {code: words.bleu for code, words in LANGUAGES.items() if code in known} == known
    assert {words.bleu for words in LANGUAGES.values()} <= set(sacrebleu.BLEU.TOKENIZERS)
    assert words_of("fi").bleu == sacrebleu.BLEU.TOKENIZER_DEFAULT


@pytest.mark.parametrize("script", OF_SCRIPT)
def test_words_are_guessed_where_no_blanks_stand_between_them(script):
    lines = [sentence(script, [1, 2, 3]), sentence("latin", [1])]
    assert guessed_tokenizer(lines) == {"han": "zh", "thai": "char", "kana": "char"}.get(script)
    assert words_of(OF_SCRIPT[script]).spaced == (script not in UNSPACED)


def test_what_is_kept_is_read_again():
    languages = Languages("en", "zh-Hans", "char")
    assert Languages.read(languages._asdict()) == languages
    with pytest.raises(KeyError):
        Languages.read({"source": "en"})
