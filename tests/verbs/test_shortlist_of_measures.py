"""`export --shortlist MEASURES`: the shortlist of the text that was measured, found again and cut into pieces."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from native.compiled import engine_sets
from verbs.test_export import pairs

from seqdistill.data.directory import DataDirectory
from seqdistill.data.prepare import prepare
from seqdistill.data.store import Store
from seqdistill.errors import UserError
from seqdistill.manifest import recorded
from seqdistill.models.saved import create_model, save_model
from seqdistill.options import ExportOptions, MeasureOptions
from seqdistill.progress import Silent
from seqdistill.runtime.shortlists import Size, shortlist_of
from seqdistill.seals import read_sealed, write_sealed
from seqdistill.stages import run_stage
from seqdistill.text.corpus import ParallelCorpus


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data directories of one tokenizer, a model for them, and the first one's text as files and as a table."""
    engine_sets()
    folder = tmp_path_factory.mktemp("world")
    held_out = ParallelCorpus.from_pairs("valid", pairs(20, seed=2))
    train = ParallelCorpus.from_pairs("train", pairs(300, seed=1))
    prepare(train=train, valid=held_out, test=None, out=folder / "data", vocab_size=50)
    kept = DataDirectory.open(folder / "data").train
    turned = [(source, " ".join(target.split()[::-1])) for source, target in _texts(kept)]
    other = ParallelCorpus.from_pairs("other", turned)
    prepare(train=other, valid=None, test=None, out=folder / "other", tokenizer_from=folder / "data")
    data = DataDirectory.open(folder / "data")
    for name, lines in (("s", data.train.sources()), ("t", data.train.targets())):
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    (folder / "pairs.tsv").write_text("a\tb\n" + "".join(f"{one}\t{other}\n" for one, other in _texts(data.train)))
    tokenizers = data.tokenizers
    save_model(create_model("sru", tokenizers, dim=16, embedding_dim=8), tokenizers, folder / "model")
    return folder


def _texts(store: Store) -> Iterator[tuple[str, str]]:
    return zip(store.sources(), store.targets(), strict=True)


def measured(out: Path, *corpora: Path, **options: Any) -> Path:
    settings = MeasureOptions(corpora=list(corpora), samples=40, **options)
    run_stage("measure", settings, out, Silent(), title="measure")
    return out


def exported(world: Path, shortlist: Path, out: Path) -> bytes:
    settings = ExportOptions(model=world / "model", shortlist=shortlist, shortlist_best=3, shortlist_frequent=5)
    run_stage("export", settings, out, Silent(), title="export")
    return (out / "shortlist.bin").read_bytes()


def expected(data: Path) -> bytes:
    tokenizers = DataDirectory.open(data).tokenizers
    found = shortlist_of(data, tokenizers, Size(3, 5), workers=1, progress=Silent())
    return found.as_bytes(sources=len(tokenizers.source), targets=len(tokenizers.target))


def test_of_a_data_directory_it_is_that_directorys_own(world: Path, tmp_path: Path) -> None:
    found = exported(world, measured(tmp_path / "measures", world / "data"), tmp_path / "out")
    assert found == expected(world / "data")
    assert recorded(tmp_path / "out")["results"]["verified"]["lines"] == 20, "its validation text is decoded"


def test_text_files_and_tables_are_cut_into_pieces(world: Path, tmp_path: Path) -> None:
    files = measured(tmp_path / "files", world / "t", source=world / "s")
    table = measured(tmp_path / "table", world / "pairs.tsv", source_column="a", target_column="b")
    for measures in (files, table):
        assert exported(world, measures, tmp_path / f"{measures.name}-out") == expected(world / "data")


def test_of_a_real_and_a_distilled_corpus_it_is_the_distilled_one(world: Path, tmp_path: Path) -> None:
    measures = measured(tmp_path / "measures", world / "other", real=world / "data")
    other, data = (exported(world, path, tmp_path / f"{path.name}-out") for path in (measures, measures / "data"))
    assert (other, data) == (expected(world / "other"), expected(world / "data")) and other != data


def test_the_aligners_settings_are_those_of_the_measures(world: Path, tmp_path: Path) -> None:
    few = exported(world, measured(tmp_path / "few", world / "data", em_iterations=2, p0=0.4), tmp_path / "few-out")
    assert few != expected(world / "data")


def test_measures_and_their_text_can_be_moved_together(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "data", tmp_path / "run" / "data")
    measured(tmp_path / "run" / "measures", tmp_path / "run" / "data")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert exported(world, tmp_path / "moved" / "measures", tmp_path / "out") == expected(world / "data")


def test_text_that_is_gone_or_changed_is_refused(world: Path, tmp_path: Path) -> None:
    shutil.copy(world / "t", tmp_path / "t")
    measures = measured(tmp_path / "measures", tmp_path / "t", source=world / "s")
    (tmp_path / "t").unlink()
    with pytest.raises(UserError, match=r"measures: its text is no longer at .*: give the data directory itself"):
        exported(world, measures, tmp_path / "out")
    (tmp_path / "t").write_text("other\n")
    with pytest.raises(UserError, match=r"t: is not what was measured in .*measures: measure it again"):
        exported(world, measures, tmp_path / "out")


def test_several_corpora_want_a_choice(world: Path, tmp_path: Path) -> None:
    measures = measured(tmp_path / "measures", world / "data", world / "other")
    with pytest.raises(UserError, match=r"2 corpora were measured there.*give .*measures/data or .*measures/other"):
        exported(world, measures, tmp_path / "out")


def test_measures_of_before_are_refused_with_what_to_give(world: Path, tmp_path: Path) -> None:
    """Versions before did not record where the text lies."""
    measures = measured(tmp_path / "measures", world / "data")
    manifest = read_sealed(measures / "manifest.json", remedy="")
    del manifest["results"]["places"]
    write_sealed(measures / "manifest.json", manifest)
    with pytest.raises(UserError, match="by an earlier version, which did not record where its text lies: give the"):
        exported(world, measures, tmp_path / "out")
