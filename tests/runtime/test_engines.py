"""CTranslate2 and our own decoder agree: same weights, same rules, same scores."""

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from seqdistill.decoding.corpus import TorchEngine
from seqdistill.decoding.given import Given
from seqdistill.errors import UserError
from seqdistill.hypothesis import EMPTY
from seqdistill.models.saved import create_model, load_model, save_model
from seqdistill.native.search import length_limit
from seqdistill.options import DecodingOptions
from seqdistill.runtime import conversions
from seqdistill.runtime.conversion import MAX_POSITIONS
from seqdistill.runtime.conversions import FOLDER, converted, is_whole
from seqdistill.runtime.ctranslate2_engine import CTranslate2Engine
from seqdistill.runtime.engines import load_engine
from seqdistill.training import optim
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import EOS, SentencePiece
from seqdistill.vocabulary.vocabularies import Vocabularies

TEXT = """the quick brown fox jumps over a lazy dog while seven wizards quietly mix vexing jars of bright pink goo
and nobody asks why it glows"""
WORDS = TEXT.split()


def sentences(count: int, seed: int) -> list[str]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 14, (count,), generator=generator).tolist()
    return [
        " ".join(WORDS[i] for i in torch.randint(len(WORDS), (length,), generator=generator).tolist())
        for length in lengths
    ]


@pytest.fixture(scope="module")
def tokenizers() -> Vocabularies:
    joint = SentencePiece.train(sentences(400, seed=1), vocab_size=120)
    return Vocabularies(joint, joint, joint=True)


def saved_model(
    tokenizers: Vocabularies, folder: Path, name: str = "transformer", ending: float = 2.0, **sizes
) -> Path:
    """Random weights; sublayers weigh more than what they are added to, so that outputs vary, and so does `ending`."""
    torch.manual_seed(3)
    model = create_model(name, tokenizers, **sizes).eval()
    if name == "transformer":
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
                if key.endswith(("output.weight", "outer.weight", "query.weight")):
                    parameter *= 4
            norm = model.decoder.norm if model.config.norm_first else model.decoder.layers[-1].around_feed_forward.norm
            vector = model.target_embedding.weight[EOS]
            norm.bias += ending * vector / vector.square().sum()
    save_model(model, tokenizers, folder / "model")
    return folder / "model"


def engines(tokenizers: Vocabularies, folder: Path, **sizes) -> tuple[TorchEngine, CTranslate2Engine]:
    model = saved_model(tokenizers, folder, dim=32, ffn_dim=48, heads=4, **sizes)
    native = load_engine("torch", model)
    other = load_engine("ctranslate2", model, compute_type="float32", workers=1)
    assert isinstance(native, TorchEngine) and isinstance(other, CTranslate2Engine)
    return native, other


def test_greedy_is_the_same_token_for_token(tokenizers, tmp_path) -> None:
    lines, options = sentences(200, seed=2), DecodingOptions(beam=1, max_length=30, max_ratio=0.5)
    sources = tokenizers.source.encode_batch(lines)
    distinct, ended = set(), 0
    for number, (norm_first, layers) in enumerate(itertools.product([True, False], [(2, 1), (1, 3)])):
        sizes = {"norm_first": norm_first, "encoder_layers": layers[0], "decoder_layers": layers[1]}
        native, other = engines(tokenizers, tmp_path / str(number), **sizes)
        ours = [found.tokens for (found,) in native.decode_ids(sources, options)]
        assert ours == [found.tokens for (found,) in other.decode_ids(sources, options)]
        distinct |= set(ours)
        ended += sum(len(out) < length_limit(len(words), options) for out, words in zip(ours, sources, strict=True))
    assert len(distinct) > 200
    assert 100 < ended < 400


@pytest.mark.parametrize("length_penalty, ending", [(0.0, -6.0), (1.0, 0.0)])
def test_beam_search_agrees_in_nearly_all(tokenizers, tmp_path, length_penalty: float, ending: float) -> None:
    native, other = engines(tokenizers, tmp_path, ending=ending)
    lines = sentences(200, seed=2)
    options = DecodingOptions(beam=5, n_best=3, max_length=20, length_penalty=length_penalty)
    ours, theirs = native.decode(lines, options), other.decode(lines, options)
    assert len({one[0].text for one in ours}) > 20
    assert sum(one[0].text == another[0].text for one, another in zip(ours, theirs, strict=True)) > 196
    every = [a.text == b.text for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)]
    assert sum(every) > 590


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("beam", [1, 4])
def test_scores_have_our_definition(tokenizers, tmp_path, beam: int, length_penalty: float) -> None:
    """log_prob is the teacher-forced sum over the tokens that may be written; score divides it by the length."""
    native, other = engines(tokenizers, tmp_path)
    sources = tokenizers.source.encode_batch(sentences(30, seed=4))
    options = DecodingOptions(beam=beam, n_best=beam, max_length=15, max_ratio=0.3, length_penalty=length_penalty)
    for source, hypotheses in zip(sources, other.decode_ids(sources, options), strict=True):
        for words, log_prob, score, *_ in hypotheses:
            labels = [*words, EOS][: length_limit(len(source), options)]
            logits = native.model(torch.tensor([[*source, EOS]]), torch.tensor([labels]))[0]
            logits[:, list(OURS.never_written)] = -torch.inf
            expected = logits.log_softmax(-1)[range(len(labels)), labels].sum().item()
            assert log_prob == pytest.approx(expected, abs=2e-3)
            assert score == pytest.approx(expected / len(labels) ** length_penalty, abs=2e-3)


RULES = [{"no_repeat_ngram": 2}, {"min_length": 6}, {"no_repeat_ngram": 1, "min_length": 9}, {}]


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("begun", [False, True])
def test_rules_are_the_same_in_both_engines(tokenizers, tmp_path, rules, begun: bool) -> None:
    """Scores too: of what is left by the rules. Prefixes of 0 to 4 words; lines have limits of their own."""
    native, other = engines(tokenizers, tmp_path, ending=0.0)
    sources = tokenizers.source.encode_batch(sentences(60, seed=9))
    words = tokenizers.target.encode_batch(sentences(60, seed=10))
    given = Given(prefixes=[row[: k % 5] for k, row in enumerate(words)] if begun else ())
    options = DecodingOptions(beam=1, max_length=14, max_ratio=0.5, **rules)
    ours, theirs = (engine.decode_ids(sources, options, given) for engine in (native, other))
    assert [found.tokens for (found,) in ours] == [found.tokens for (found,) in theirs]
    assert [found.log_prob for (found,) in ours] == pytest.approx([found.log_prob for (found,) in theirs], abs=2e-3)
    searched = DecodingOptions(beam=4, n_best=2, max_length=14, **rules)
    ours, theirs = (engine.decode_ids(sources, searched, given) for engine in (native, other))
    others = [row for row in range(60) if ours[row][0].tokens != theirs[row][0].tokens]
    ended = [row for row in others if begun and ours[row][0].tokens == tuple(given.prefixes[row])]
    assert len(others) - len(ended) < 4  # right after a prefix CTranslate2 hardly ever ends
    assert all(found.score > -1e3 for hypotheses in theirs for found in hypotheses)


def test_limits_hold_line_by_line_and_lines_keep_their_places(tokenizers, tmp_path, monkeypatch) -> None:
    """Calls of 40 lines mix limits; empty lines and repeated ones come out where they went in."""
    monkeypatch.setattr("seqdistill.runtime.ctranslate2_engine.CALL_LINES", 40)
    native, other = engines(tokenizers, tmp_path)
    words = sentences(100, seed=6)
    lines = ["", *words, "   ", *words[:20]]
    options = DecodingOptions(beam=1, max_ratio=0.2)
    results = other.decode_ids(tokenizers.source.encode_batch(lines), options)
    assert results[0] == results[101] == [EMPTY]
    assert [found.tokens for (found,) in results[1:21]] == [found.tokens for (found,) in results[102:]]
    assert [found.tokens for (found,) in results] == [
        found.tokens for (found,) in native.decode_ids(tokenizers.source.encode_batch(lines), options)
    ]


def test_untied_vocabularies_convert(tmp_path) -> None:
    source = SentencePiece.train(sentences(300, seed=1), vocab_size=90)
    target = SentencePiece.train([line.upper() for line in sentences(300, seed=2)], vocab_size=110)
    native, other = engines(Vocabularies(source, target, joint=False), tmp_path)
    lines, options = sentences(60, seed=5), DecodingOptions(beam=1, max_length=12)
    ours = native.decode(lines, options)
    assert [h.text for (h,) in ours] == [h.text for (h,) in other.decode(lines, options)]
    assert any(h.text for (h,) in ours)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own; the folder of conversions in it."""
    monkeypatch.setenv("SEQDISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / FOLDER


def conversion_in(cache: Path) -> Path:
    (folder,) = (path for path in cache.iterdir() if not path.name.startswith("."))
    return folder


def test_int8_is_close_and_conversion_is_kept(tokenizers, tmp_path, cache) -> None:
    _, other = engines(tokenizers, tmp_path)
    assert not list((tmp_path / "model").glob(".*")), "the model's folder is the user's"
    folder = conversion_in(cache)
    written = (folder / "model.bin").stat().st_mtime_ns
    load_engine("ctranslate2", tmp_path / "model", compute_type="float32", workers=1)
    assert (folder / "model.bin").stat().st_mtime_ns == written
    quick = load_engine("ctranslate2", tmp_path / "model", compute_type="int8", workers=1)
    assert quick.fingerprint["model"] == other.fingerprint["model"] == load_model(tmp_path / "model").fingerprint
    assert quick.fingerprint["precision"] == "int8"
    lines, options = sentences(50, seed=8), DecodingOptions(beam=1, max_length=5)
    same = [a == b for a, b in zip(_texts(quick, lines, options), _texts(other, lines, options), strict=True)]
    assert sum(same) > 35


def test_a_damaged_conversion_is_made_again(tokenizers, tmp_path, cache) -> None:
    """Whatever bit of it was altered, and whatever is gone: the bytes are those of the first conversion again."""
    engines(tokenizers, tmp_path)
    folder = conversion_in(cache)

    def files() -> dict[Path, bytes]:
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    whole = files()
    assert {Path("model.bin"), Path("config.json"), Path("tokenizer/seqdistill.json")} <= whole.keys()
    for name, content in whole.items():
        for damaged in (content[: len(content) // 2] + b"#" + content[len(content) // 2 + 1 :], None):
            (folder / name).unlink() if damaged is None else (folder / name).write_bytes(damaged)
            assert not is_whole(folder)
            load_engine("ctranslate2", tmp_path / "model", compute_type="float32", workers=1)
            assert files() == whole


def test_processes_that_convert_at_once_make_one_conversion(tokenizers, tmp_path, cache) -> None:
    """Three begin together with a damaged conversion; each decodes, and one whole conversion is left."""
    engines(tokenizers, tmp_path)
    folder = conversion_in(cache)
    (folder / "model.bin").write_bytes(b"#")
    script = (
        "import sys; from pathlib import Path; from seqdistill.runtime.engines import load_engine;"
        "from seqdistill.options import DecodingOptions; sys.stdin.read();"
        "engine = load_engine('ctranslate2', Path(sys.argv[1]), workers=1, compute_type='float32');"
        "print(engine.decode(['a b c'], DecodingOptions(beam=1, max_length=5))[0][0].text)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "model")]
    environment = os.environ | {"PYTHONPATH": str(Path(conversions.__file__).parents[2])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env=environment, **pipes) for _ in range(3)]
    said = [process.communicate("begin") for process in running]
    assert all(process.returncode == 0 for process in running), said
    assert len({out for out, _ in said}) == 1
    assert is_whole(folder) and not list(cache.glob(".*.part"))


def test_a_conversion_that_is_held_can_be_held_by_others(tokenizers, tmp_path) -> None:
    """Also by the same process: whoever measured a model and its copy waited for itself, for ever."""
    model = load_model(saved_model(tokenizers, tmp_path / "model"))
    with converted(model, tmp_path / "cache") as folder, converted(model, tmp_path / "cache") as again:
        assert folder == again and is_whole(folder)


def test_without_a_cache_that_can_be_written_a_temporary_conversion_does(tokenizers, tmp_path, monkeypatch) -> None:
    """As in a home that can only be read; here the cache cannot be a folder."""
    ours, _ = engines(tokenizers, tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEQDISTILL_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    lines, options = sentences(20, seed=8), DecodingOptions(beam=1, max_length=5)
    found = _texts(load_engine("ctranslate2", tmp_path / "model", compute_type="float32", workers=1), lines, options)
    assert found == _texts(ours, lines, options)
    assert not list((tmp_path / "scratch").iterdir())


def test_torch_keeps_its_threads(tokenizers, tmp_path) -> None:
    engines(tokenizers, tmp_path)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        load_engine("ctranslate2", tmp_path / "model").decode(
            sentences(2, seed=8), DecodingOptions(beam=1, max_length=5)
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def _texts(engine, lines: list[str], options: DecodingOptions) -> list[str]:
    return [found[0].text for found in engine.decode(lines, options)]


@pytest.mark.parametrize("name", ["gru", "nat"])
def test_other_models_are_sent_to_the_native_engine(tokenizers, tmp_path, name: str) -> None:
    model = saved_model(tokenizers, tmp_path, name)
    with pytest.raises(UserError, match=r"runs transformer, mixture, but this model is one of \w+: use --engine torch"):
        load_engine("ctranslate2", model)
    assert len(load_engine("torch", model).decode(sentences(3, seed=1), DecodingOptions(beam=1, max_length=5))) == 3


SMALL = {"dim": 16, "ffn_dim": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
FLOW = {"posterior_layers": 1, "flow_steps": "1,1", "flow_ffn_dim": 16}
MODELS = {
    **dict.fromkeys(("transformer", "mixture", "hybrid", "nat", "inat", "cmlm", "inst", "levt"), SMALL),
    **{name: {"dim": 16} for name in ("sru", "ssru", "gru", "lstm")},
    "flowseq": SMALL | FLOW,
}


@pytest.mark.parametrize("name", MODELS)
def test_our_decoder_in_bfloat16_is_close(tokenizers, tmp_path, monkeypatch, name: str) -> None:
    """The score of a first token, or of a few iterations, is float32's but for rounding; emulated here."""
    model = saved_model(tokenizers, tmp_path, name, **MODELS[name])
    with pytest.raises(UserError, match="compute type 'int8' belongs to other engines"):
        load_engine("torch", model, compute_type="int8")
    monkeypatch.setattr(optim, "computes_bfloat16", lambda device: True)
    exact, rounded = (load_engine("torch", model, compute_type=given) for given in ("auto", "bfloat16"))
    at_once = exact.model.traits.non_autoregressive
    options = DecodingOptions(beam=1, max_length=6 if at_once else 1)
    scores = [
        [found[0].log_prob for found in engine.decode(sentences(8, seed=5), options)] for engine in (exact, rounded)
    ]
    assert scores[1] != scores[0] and scores[1] != torch.tensor(scores[1]).bfloat16().tolist()
    assert scores[1] == pytest.approx(scores[0], rel=0.1, abs=0.1)
    assert rounded.fingerprint == exact.fingerprint | {"precision": "bfloat16"}


def test_mistakes_are_named(tokenizers, tmp_path) -> None:
    _, other = engines(tokenizers, tmp_path)
    with pytest.raises(UserError, match=r"unknown engine 'ctranslate'; did you mean 'ctranslate2'\?"):
        load_engine("ctranslate", tmp_path / "model")
    with pytest.raises(UserError, match=r"compute type 'int3' is not available on this processor; choose auto or"):
        load_engine("ctranslate2", tmp_path / "model", compute_type="int3")
    with pytest.raises(UserError, match=r"use --engine torch for sampling"):
        other.decode(["a dog"], DecodingOptions(sampling=True))
    with pytest.raises(UserError, match=r"which pieces each line may be made of: use --engine torch"):
        other.decode(["a dog"], DecodingOptions(beam=1), allowed=[[7, 8]])
    with pytest.raises(UserError, match=r"line 2 has [\d,]+ tokens; .* at most 4,095: split the line"):
        other.decode(["a dog", "dog " * MAX_POSITIONS], DecodingOptions(beam=1))
