"""Sequence-level distillation and interpolation: whole data directories, from fake and from real teachers."""

import random
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
import torch

from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.decoding.corpus import TorchEngine
from seqdistill.decoding.engine import EngineTraits
from seqdistill.decoding.shards import ShardStore
from seqdistill.distillation.sequence import distill_corpus, most_similar
from seqdistill.errors import UserError
from seqdistill.hypothesis import TextHypothesis
from seqdistill.metrics.scores import sentence_bleu, sentence_chrf
from seqdistill.models.saved import create_model, load_model, save_model
from seqdistill.options import DecodingOptions
from seqdistill.runtime.engines import load_engine
from seqdistill.text.corpus import ParallelCorpus, SentencePair

TEXT = "ein Hund läuft über die grüne Wiese und eine Katze schläft auf dem alten Sofa im Haus"
WORDS = TEXT.split()


class TableEngine:
    """Writes what a function says."""

    def __init__(self, write: Any, name: str = "table") -> None:
        self.write, self.name = write, name

    traits = EngineTraits(samples=True, n_best=True)

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {"engine": self.name}

    def decode(
        self, sources: Sequence[str], options: DecodingOptions, *, line_numbers: Sequence[int] | None = None
    ) -> list[list[TextHypothesis]]:
        return [[TextHypothesis(text, -1.0 - k, -1.0 - k) for k, text in enumerate(self.write(s))] for s in sources]


def sentence_pairs(count: int, seed: int) -> list[SentencePair]:
    """Sentences of different words each, and a target in another order."""
    chance = random.Random(seed)
    pairs = []
    for _ in range(count):
        words = chance.choices(WORDS, k=chance.randint(3, 9))
        pairs.append(SentencePair(" ".join(words), " ".join(sorted(words))))
    return pairs


def prepared(folder: Path, *, train: int = 60, vocab_size: int = 60, seed: int = 1) -> DataDirectory:
    held_out = sentence_pairs(8, seed=1000)
    prepare(
        train=ParallelCorpus.from_pairs("train", sentence_pairs(train, seed)),
        valid=ParallelCorpus.from_pairs("valid", held_out[:4]),
        test=ParallelCorpus.from_pairs("test", held_out[4:]),
        out=folder,
        vocab_size=vocab_size,
    )
    return DataDirectory.open(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    return prepared(tmp_path_factory.mktemp("data") / "data")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def reverse(source: str) -> list[str]:
    return [" ".join(reversed(source.split()))]


def test_the_new_targets_are_what_the_teacher_wrote(data: DataDirectory, tmp_path: Path) -> None:
    results = distill_corpus(
        data=data, engine=TableEngine(reverse), out=tmp_path / "out", options=DecodingOptions(beam=1), shard_lines=16
    )
    new = DataDirectory.open(tmp_path / "out")
    assert list(new.train.sources()) == list(data.train.sources())
    assert list(new.train.targets()) == [reverse(source)[0] for source in data.train.sources()]
    assert new.valid is not None and data.valid is not None
    assert list(new.valid.targets()) == list(data.valid.targets())
    assert new.tokenizers.fingerprint == data.tokenizers.fingerprint
    assert results["characters_to_reference"] == 1
    assert results["share_not_first"] == results["share_at_length_limit"] == 0
    equal = [reverse(s)[0] == t for s, t in zip(data.train.sources(), data.train.targets(), strict=True)]
    assert results["share_equal_to_reference"] == round(sum(equal) / len(equal), 4)
    assert results["mean_tokens"] == round(new.train.counts.target_tokens / new.train.counts.pairs, 4)
    assert results["lines_per_second"] > 0


def test_lines_without_output_are_dropped_and_counted(data: DataDirectory, tmp_path: Path) -> None:
    def write(source: str) -> list[str]:
        return [""] if "Hund" in source else [source]

    results = distill_corpus(
        data=data, engine=TableEngine(write), out=tmp_path / "out", options=DecodingOptions(beam=1)
    )
    dropped = sum("Hund" in source for source in data.train.sources())
    assert dropped > 0
    assert results["filters"]["empty"] == dropped
    assert len(DataDirectory.open(tmp_path / "out").train) == len(data.train) - dropped
    assert len(ShardStore.open(tmp_path / "out/shards")) == len(data.train)
    assert results["share_equal_to_source"] == round(1 - dropped / len(data.train), 4)


def test_outputs_at_the_length_limit_are_counted(data: DataDirectory, tmp_path: Path) -> None:
    encode = data.tokenizers.target.encode
    long = "Katze " * 30

    def write(source: str) -> list[str]:
        return [long if "Hund" in source else source]

    options = DecodingOptions(max_length=len(encode(long)))
    results = distill_corpus(data=data, engine=TableEngine(write), out=tmp_path / "out", options=options)
    share = sum("Hund" in source for source in data.train.sources()) / len(data.train)
    assert results["share_at_length_limit"] == round(share, 4)


@pytest.mark.parametrize(
    ("ours", "oracle"),
    [
        (sentence_bleu, sacrebleu.BLEU(effective_order=True).sentence_score),
        (sentence_chrf, sacrebleu.CHRF().sentence_score),
    ],
)
def test_interpolation_takes_what_is_most_like_the_reference(
    data: DataDirectory, tmp_path: Path, ours: Any, oracle: Any
) -> None:
    """The oracle: sacreBLEU's own sentence scores over the same hypotheses, kept as Kim and Rush describe."""

    def write(source: str) -> list[str]:
        chance = random.Random(source)
        return [" ".join(chance.sample(words := source.split(), k=chance.randint(1, len(words)))) for _ in range(5)]

    results = distill_corpus(
        data=data,
        engine=TableEngine(write),
        out=tmp_path / "out",
        options=DecodingOptions(beam=5, n_best=5),
        similarity=ours,
        select_among=3,
    )
    new = list(DataDirectory.open(tmp_path / "out").train.targets())
    not_first = 0
    for source, reference, target in zip(data.train.sources(), data.train.targets(), new, strict=True):
        scores = [oracle(text, [reference]).score for text in write(source)[:3]]
        assert oracle(target, [reference]).score == pytest.approx(max(scores))
        not_first += target != write(source)[0] and scores[0] < max(scores)
    assert 0 < not_first / len(new) <= results["share_not_first"]


def test_of_equals_the_teachers_first_choice() -> None:
    hypotheses = [TextHypothesis(text, 0.0, 0.0) for text in ("a b", "b a", "c")]
    assert most_similar(hypotheses, ["x"], lambda hypothesis, reference: 1.0) == 0
    assert most_similar(hypotheses, ["c"], sentence_bleu) == 2
    assert most_similar(hypotheses, ["x", "c", "b d"], sentence_bleu) == 2


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        (DecodingOptions(beam=5, n_best=3), {"select_among": 4}, "select_among 4 is more than n_best 3"),
        (DecodingOptions(beam=5, n_best=3), {"select_among": 2, "similarity": None}, "needs a similarity"),
        (DecodingOptions(beam=5), {}, "one hypothesis leaves nothing to select"),
        (DecodingOptions(beam=5, n_best=3), {"select_among": 1}, "one hypothesis leaves nothing to select"),
        (DecodingOptions(sampling=True, n_best=2), {"similarity": None}, "the first of them is no sample"),
        (DecodingOptions(beam=1), {"similarity": None, "workers": 0}, "workers and shard_lines must be 1 or more"),
    ],
)
def test_selections_that_make_no_sense(
    data: DataDirectory, tmp_path: Path, options: DecodingOptions, change: dict[str, Any], message: str
) -> None:
    settings = {"similarity": sentence_bleu} | change
    with pytest.raises(UserError, match=message):
        distill_corpus(data=data, engine=TableEngine(reverse), out=tmp_path / "out", options=options, **settings)
    assert not (tmp_path / "out").exists()


def test_training_on_test_text_is_refused(data: DataDirectory, tmp_path: Path) -> None:
    """A directory whose training text is another's validation text, also when written a little differently."""
    assert data.valid is not None
    leaked = data.valid.source_text(2)
    train = [*sentence_pairs(20, seed=5), SentencePair(leaked.upper() + " !", "etwas")]
    prepare(
        train=ParallelCorpus.from_pairs("train", train),
        valid=ParallelCorpus.from_pairs("valid", sentence_pairs(3, seed=6)),
        test=None,
        out=tmp_path / "leaking",
        vocab_size=60,
    )
    leaking = DataDirectory.open(tmp_path / "leaking")
    message = rf"leaking/train.arrow: 1 of {len(leaking.train)} training sources.*in .*data/valid.arrow.*prepare"
    with pytest.raises(UserError, match=message):
        distill_corpus(
            data=leaking,
            engine=TableEngine(reverse),
            out=tmp_path / "out",
            options=DecodingOptions(beam=1),
            student=data,
        )
    assert not (tmp_path / "out").exists()


def test_a_student_with_other_subwords(data: DataDirectory, tmp_path: Path) -> None:
    student = prepared(tmp_path / "student", vocab_size=45, seed=2)
    distill_corpus(
        data=data,
        engine=TableEngine(reverse),
        out=tmp_path / "out",
        options=DecodingOptions(beam=1),
        student=student,
    )
    new = DataDirectory.open(tmp_path / "out")
    assert new.tokenizers.fingerprint == student.tokenizers.fingerprint != data.tokenizers.fingerprint
    assert list(new.train.targets()) == [reverse(source)[0] for source in data.train.sources()]
    assert new.test is not None and data.test is not None
    for i in range(len(new.test)):
        assert new.test.target_text(i) == data.test.target_text(i)
        assert new.test.target_ids(i).tolist() == student.tokenizers.target.encode(data.test.target_text(i))


def test_another_teacher_in_the_same_directory_is_refused(data: DataDirectory, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"data": data, "out": tmp_path / "out", "options": DecodingOptions(beam=1)}
    distill_corpus(engine=TableEngine(reverse), **settings)
    before = content(tmp_path / "out")
    with pytest.raises(UserError, match=r"(?s)shards: .*the decoding asked for:.*engine: 'table' there, 'other' now"):
        distill_corpus(engine=TableEngine(reverse, "other"), **settings)
    assert content(tmp_path / "out") == before


@pytest.fixture(scope="module")
def teacher(data: DataDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Transformer of random weights, made to differ from sentence to sentence."""
    torch.manual_seed(1)
    sizes = {"dim": 16, "ffn_dim": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    model = create_model("transformer", data.tokenizers, **sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    directory = tmp_path_factory.mktemp("teacher") / "model"
    save_model(model, data.tokenizers, directory)
    return directory


@pytest.mark.parametrize(
    "options",
    [
        DecodingOptions(beam=4, n_best=3, max_length=12),
        DecodingOptions(sampling=True, top_k=10, max_length=12),
    ],
    ids=["beam", "sampling"],
)
def test_a_real_teacher_writes_what_it_writes_without_shards(
    data: DataDirectory, teacher: Path, tmp_path: Path, options: DecodingOptions
) -> None:
    """Two paths: through the store, cut off after every shard and continued; and one sentence at a time."""
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    settings: dict[str, Any] = {"data": data, "options": options, "shard_lines": 20}

    class CutOff(Exception):
        pass

    class Cutting(TableEngine):
        """The real teacher, but after one shard the run is cut off."""

        def __init__(self, native: TorchEngine) -> None:
            self.native, self.calls = native, 0

        @property
        def fingerprint(self) -> Mapping[str, Any]:
            return self.native.fingerprint

        def decode(self, *given: Any, **more: Any) -> list[list[TextHypothesis]]:
            self.calls += 1
            if self.calls > 1:
                raise CutOff
            return self.native.decode(*given, **more)

    native = load_engine("torch", teacher)
    assert isinstance(native, TorchEngine)
    for _ in range(2):
        with pytest.raises(CutOff):
            distill_corpus(engine=Cutting(native), out=cut, **settings)
    distill_corpus(engine=native, out=cut, **settings)
    distill_corpus(engine=native, out=whole, **settings)
    assert content(cut) == content(whole)
    for line, source, hypotheses in list(ShardStore.open(whole / "shards"))[::7]:
        alone = native.decode([source], options, line_numbers=[line])[0]
        assert [h.text for h in hypotheses] == [h.text for h in alone]
        assert [h.log_prob for h in hypotheses] == pytest.approx([h.log_prob for h in alone], rel=1e-4)


@pytest.mark.parametrize(
    ("engine", "alone", "beside_another"),
    [("torch", {}, {}), ("ctranslate2", {"compute_type": "float32"}, {"compute_type": "float32", "workers": 1})],
)
def test_two_workers_distil_the_same_bytes_as_one(
    data: DataDirectory,
    teacher: Path,
    tmp_path: Path,
    engine: str,
    alone: dict[str, Any],
    beside_another: dict[str, Any],
) -> None:
    """Real teachers in real processes; alone, CTranslate2 decodes with as many threads as there are cores."""
    options = DecodingOptions(beam=4, n_best=3, max_length=12)
    settings: dict[str, Any] = {"data": data, "options": options, "shard_lines": 8, "similarity": sentence_chrf}
    load = partial(load_engine, engine, teacher)
    one = distill_corpus(engine=load(**alone), out=tmp_path / "one", **settings)
    two = distill_corpus(
        engine=load(**beside_another), load=partial(load, **beside_another), out=tmp_path / "two", workers=2, **settings
    )
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert one | {"lines_per_second": 0} == two | {"lines_per_second": 0}
    again = distill_corpus(engine=load(**alone), out=tmp_path / "two", **settings)
    assert again == two | {"lines_per_second": None}


def test_the_tokenizer_of_another_checkpoint_is_refused(data: DataDirectory, teacher: Path, tmp_path: Path) -> None:
    other = prepared(tmp_path / "other", seed=9)
    foreign = tmp_path / "foreign"
    loaded = load_model(teacher)
    save_model(loaded.model, loaded.tokenizers, foreign)
    for path in (foreign / "tokenizer").iterdir():
        path.write_bytes((other.path / "tokenizer" / path.name).read_bytes())
    with pytest.raises(UserError, match="tokenizer"):
        distill_corpus(
            data=data, engine=load_engine("torch", foreign), out=tmp_path / "out", options=DecodingOptions(beam=1)
        )
    assert not (tmp_path / "out").exists()


# Several targets for one source


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    rows = [(pair.source, pair.target, pair.source.upper()) for pair in sentence_pairs(40, seed=4)]
    rows += [(rows[3][0], "noch eins", "und eins")]
    held_out = [(pair.source, pair.target, "ja") for pair in sentence_pairs(6, seed=2000)]
    folder = tmp_path_factory.mktemp("several") / "data"
    texts = {"train": rows, "valid": held_out[:3], "test": held_out[3:]}
    corpora = {name: ParallelCorpus.from_rows(name, text, num_targets=2) for name, text in texts.items()}
    prepare(**corpora, out=folder, vocab_size=60)
    return DataDirectory.open(folder)


def test_each_source_is_decoded_once_and_has_one_target_then(several: DataDirectory, tmp_path: Path) -> None:
    asked: list[str] = []

    def write(source: str) -> list[str]:
        asked.append(source)
        return reverse(source)

    results = distill_corpus(
        data=several, engine=TableEngine(write), out=tmp_path / "out", options=DecodingOptions(beam=1), shard_lines=7
    )
    new, sources = DataDirectory.open(tmp_path / "out"), list(dict.fromkeys(several.train.sources()))
    assert asked == sources == list(new.train.sources()) and len(sources) < len(several.train) / 1.9
    assert list(new.train.targets()) == [reverse(source)[0] for source in sources]
    assert (new.num_targets["train"], new.num_targets["test"]) == (1, 2)
    assert new.test is not None and several.test is not None
    assert list(new.test.targets()) == list(several.test.targets())
    pairs = list(zip(several.train.sources(), several.train.targets(), strict=True))
    given = [{target for other, target in pairs if other == source} for source in sources]
    equal = [reverse(source)[0] in targets for source, targets in zip(sources, given, strict=True)]
    assert results["share_equal_to_reference"] == round(sum(equal) / len(equal), 4)
    again = distill_corpus(
        data=several, engine=TableEngine(write), out=tmp_path / "out", options=DecodingOptions(beam=1), shard_lines=7
    )
    assert asked == sources and again == results | {"lines_per_second": None}


def test_interpolation_looks_at_all_targets(several: DataDirectory, tmp_path: Path) -> None:
    """Of two hypotheses one is the second target: only a look at all of them finds it."""
    distill_corpus(
        data=several,
        engine=TableEngine(lambda source: ["x", source.upper()]),
        out=tmp_path / "out",
        options=DecodingOptions(beam=2, n_best=2),
        similarity=sentence_bleu,
    )
    new = DataDirectory.open(tmp_path / "out").train
    assert list(new.targets()) == [source.upper() for source in new.sources()]
