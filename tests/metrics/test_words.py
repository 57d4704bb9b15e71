"""What the words of a language are in every metric, and tokenisers that need what is not installed."""

import unicodedata

import pytest
import sacrebleu

from seqdistill.errors import UserError
from seqdistill.measures.tokenizers import create_tokenizer
from seqdistill.metrics import tokenizers as module
from seqdistill.metrics.scores import create_metric
from seqdistill.metrics.selection import sentence_bleu
from seqdistill.metrics.tokenizers import TOKENIZERS, completed, scored_words
from seqdistill.options import MetricOptions
from seqdistill.text.languages import Languages
from tests.scripts import LANGUAGES, UNSPACED, sentence

HYPOTHESES = ["狗今天晚上在大街上跑得很快。", "明天早晨又回来了。"]
REFERENCES = ["狗今晚在大街上跑得很快。", "他明天早晨又回来了吗。"]
ZH = MetricOptions(target_language="zh-Hans")


def test_bleu_and_ter_of_chinese_are_sacrebleus():
    bleu = sacrebleu.BLEU(tokenize="zh").corpus_score(HYPOTHESES, [REFERENCES]).score
    ter = sacrebleu.TER(normalized=True, asian_support=True).corpus_score(HYPOTHESES, [REFERENCES]).score
    assert create_metric("bleu", ZH).corpus(HYPOTHESES, REFERENCES).value == pytest.approx(bleu)
    found = create_metric("ter", ZH).corpus(HYPOTHESES, REFERENCES)
    assert found.value == pytest.approx(ter)
    assert found.value < 50
    assert "asian:yes" in found.signature
    assert create_metric("ter").corpus(HYPOTHESES, REFERENCES).value == 100, "as one word a line"


def test_ter_of_thai_counts_characters():
    """One character of nine is another one: a ninth."""
    reference = "สุนัขวิ่ง"
    hypothesis = reference[:-1] + "น"
    found = create_metric("ter", MetricOptions(target_language="th")).corpus([hypothesis], [reference])
    assert found.value == pytest.approx(100 / len(reference))
    assert found.signature.endswith("|words:characters")


@pytest.mark.parametrize("script", UNSPACED)
@pytest.mark.parametrize("name", ["bleu", "ter", "rouge1", "rougeL", "ribes", "chrf"])
def test_no_metric_takes_a_line_without_blanks_for_one_word(script, name):
    """A line that shares all but its first word: neither nothing nor everything is right in it."""
    options = MetricOptions(target_language=LANGUAGES[script], tokenize="char" if script == "kana" else None)
    line, other = sentence(script, [1, 2, 3, 4, 5]), sentence(script, [0, 2, 3, 4, 5])
    value = create_metric(name, options).corpus([line], [other]).value
    assert 0 < value / (1 if name == "ribes" else 100) < 1
    assert create_metric(name, options).corpus([line], [line]).value in (
        0 if name == "ter" else 1,
        100,
        pytest.approx(100),
    )


@pytest.mark.parametrize("script", LANGUAGES)
@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rougeL"])
def test_rouge_of_lines_without_a_common_word_is_zero_and_of_a_line_with_itself_100(script, name):
    rouge = create_metric(name, MetricOptions(target_language=LANGUAGES[script]))
    line = sentence(script, [0, 1, 2, 3])
    assert rouge.corpus([line], [line]).value == pytest.approx(100)
    assert rouge.corpus(["xyz"], [line]).value == 0


def test_hindi_words_differ_by_their_vowels():
    """Without marks, कल, काल, कुल were the same word, and ROUGE-1 of lines without a common word was 100."""
    assert create_metric("rouge1").corpus(["कल काल"], ["कुल केला"]).value == 0
    assert create_metric("rouge1").corpus(["कल काल"], ["काल केला"]).value == 50


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter", "rouge1", "ribes"])
def test_normal_forms_score_alike(name):
    """References in NFD, outputs in NFC: the same characters; what was done is in the signature."""
    line = "der Hund läuft über die große Brücke"
    decomposed = unicodedata.normalize("NFD", line)
    metric = create_metric(name)
    composed, found = metric.corpus([line], [line]), metric.corpus([line], [decomposed])
    assert found.value == composed.value
    assert found.signature == f"{composed.signature}|unicode:nfc"
    assert "nfc" not in composed.signature
    assert metric.sentences([decomposed], [line]) == metric.sentences([line], [line])
    assert sentence_bleu(line, decomposed) == pytest.approx(100)


@pytest.mark.parametrize("tokenize", [name for name in TOKENIZERS if name in module.NEEDS])
@pytest.mark.parametrize("use", ["bleu", "ribes", "select"])
def test_a_tokeniser_that_is_not_there_says_what_to_install(tokenize, use, monkeypatch, tmp_path):
    """Neither MeCab nor a network: nothing is downloaded, and each place that uses it says the same."""

    def no_network(*_):
        raise OSError("no network")

    module.tokenizer.cache_clear()
    for name in ("tokenizer_ja_mecab", "tokenizer_ko_mecab"):
        monkeypatch.setattr(f"sacrebleu.tokenizers.{name}.MeCab", None, raising=False)
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_spm.SACREBLEU_DIR", str(tmp_path), raising=False)
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_spm.download_file", no_network, raising=False)
    wanted = "pip install 'sacrebleu" if "mecab" in tokenize else "SentencePiece model.*connect"
    with pytest.raises(UserError, match=f"tokeniser '{tokenize}' needs.*{wanted}.*--tokenize, such as char"):
        if use == "select":
            sentence_bleu("a", "a", tokenize=tokenize)
        else:
            create_metric(use, MetricOptions(tokenize=tokenize))
    module.tokenizer.cache_clear()


def test_what_is_asked_for_comes_before_what_is_known():
    known = Languages("en", "zh", "char")
    assert scored_words(completed(MetricOptions(), known, lowercase=False)) == "char"
    assert scored_words(completed(MetricOptions(target_language="zh"), known, lowercase=False)) == "zh"
    assert scored_words(completed(MetricOptions(tokenize="intl"), known, lowercase=False)) == "intl"
    assert scored_words(completed(MetricOptions(), Languages("en", "th"), lowercase=False)) == "char"
    assert completed(MetricOptions(), known, lowercase=True).lowercase


def test_invisible_lines_have_no_words():
    for language in ("de", "zh", "th"):
        assert create_tokenizer(language).split("\u200b\ufeff") == []


def test_three_letters_and_scripts_name_the_same_words():
    assert create_tokenizer("zho_Hans").signature == create_tokenizer("zh").signature
