"""Named sources and the hub, with a small stand-in for the datasets library, and with the library where it is there."""

import json
import math
import sys
import types
from pathlib import Path

import pytest

from seqdistill.errors import UserError
from seqdistill.text.filters import Filters
from seqdistill.text.hub import load_hub
from seqdistill.text.sources import (
    SOURCES,
    default_cache,
    find_source,
    load_source,
    recommended_filters,
    split_languages,
    split_pair,
)

TRANSLATIONS = [{"translation": {"en": "one", "de": "eins"}}, {"translation": {"en": "two", "de": "zwei"}}]


@pytest.fixture
def hub(monkeypatch):
    """Installs a module with the one function that is used; returns what it holds and what it was asked."""
    asked, held = [], {}

    def load_dataset(path, name=None, *, revision=None, cache_dir=None):
        asked.append((path, name, revision, cache_dir))
        if path not in held:
            raise FileNotFoundError(f"Dataset '{path}' doesn't exist on the Hub")
        return held[path]

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return types.SimpleNamespace(asked=asked, held=held)


def test_every_source_says_what_it_is():
    for name in ("home-assistant", "debian-descriptions", "multi30k", "wmt14", "iwslt14", "cnn-dailymail"):
        source = SOURCES[name]
        assert source.description and source.needs and source.licence and source.languages


def test_an_unknown_source_names_the_nearest():
    with pytest.raises(
        UserError, match=r"no corpus 'multi-30k'; did you mean multi30k\? there: home-assistant, .*hub:NAME"
    ):
        find_source("multi-30k")


@pytest.mark.parametrize("languages", ["de-fr", "english", "summary"])
def test_a_missing_pair_lists_those_there(languages, tmp_path):
    with pytest.raises(UserError, match=f"multi30k: no languages '{languages}'; there: en-de, de-en"):
        load_source("multi30k", languages, cache=tmp_path)


def test_pairs_of_languages():
    assert split_pair("en-de") == ("en", "de")
    assert split_pair("en-pt-BR") == ("en", "pt-BR")
    assert split_pair("zh-Hans-es-419") == ("zh-Hans", "es-419")
    with pytest.raises(UserError, match="expected a pair, source first, such as en-de"):
        split_pair("german")


def test_several_targets_of_a_source():
    assert split_languages("en-de") == ("en", "de")
    assert split_languages("en-de+es+fr") == ("en", "de", "es", "fr")
    assert split_languages("en-pt-BR+es-419") == ("en", "pt-BR", "es-419")
    with pytest.raises(UserError, match=r"languages 'en-de\+': expected a pair, .* or en-de\+fr"):
        split_languages("en-de+")
    for twice in ("en-de+de", "en-de+en"):
        with pytest.raises(UserError, match="names a language twice"):
            split_languages(twice)


def test_several_targets_where_a_source_has_no_such_text(tmp_path):
    with pytest.raises(UserError, match=r"multi30k: no languages 'en-de\+fr'; there: en-de, de-en$"):
        load_source("multi30k", "en-de+fr", cache=tmp_path)
    with pytest.raises(UserError, match=r"home-assistant: no languages 'en'; .*several targets as xx-yy\+zz"):
        load_source("home-assistant", "en", cache=tmp_path)


def test_several_targets_of_the_hub(hub, tmp_path):
    texts = {"en": "one", "de": "eins", "fr": "un"}
    for rows in ([{"translation": texts}], [texts]):
        hub.held["some/data"] = {"train": rows}
        train = load_source("hub:some/data", "en-de+fr", cache=tmp_path).train
        assert list(train) == list(train) == [("one", "eins"), ("one", "un")]
        assert train.num_targets == 2


def test_summaries_are_not_filtered_by_ratio():
    for translated in (("home-assistant", None), ("debian-descriptions", "en-de"), (None, None)):
        assert recommended_filters(*translated) == Filters()
    for summarized in (("cnn-dailymail", None), ("debian-descriptions", "summary")):
        assert recommended_filters(*summarized).max_ratio == math.inf


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SEQDISTILL_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"
    monkeypatch.delenv("SEQDISTILL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "seqdistill"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "seqdistill"


@pytest.mark.parametrize(
    ("name", "languages", "repository", "configuration", "rows", "expected"),
    [
        ("multi30k", "de-en", "bentrevett/multi30k", None, [{"en": "a", "de": "b"}], [("b", "a")]),
        ("wmt14", "en-de", "wmt/wmt14", "de-en", TRANSLATIONS, [("one", "eins"), ("two", "zwei")]),
        ("iwslt14", None, "bbaaaa/iwslt14-de-en", None, TRANSLATIONS, [("eins", "one"), ("zwei", "two")]),
        (
            "cnn-dailymail",
            None,
            "abisee/cnn_dailymail",
            "3.0.0",
            [{"article": "a\nb", "highlights": "c"}],
            [("a b", "c")],
        ),
    ],
)
def test_sources_of_the_hub(hub, tmp_path, name, languages, repository, configuration, rows, expected):
    hub.held[repository] = {"train": rows, "validation": rows[:1], "test": rows[-1:]}
    splits = load_source(name, languages, cache=tmp_path)
    assert list(splits.train) == list(splits.train) == expected
    assert list(splits.valid) == expected[:1] and list(splits.test) == expected[-1:]
    assert hub.asked[0][:2] == (repository, configuration) and hub.asked[0][3] == str(tmp_path / "hub")


@pytest.mark.parametrize(
    ("rows", "languages", "expected"),
    [
        (TRANSLATIONS[:1], "de-en", ("eins", "one")),
        ([{"de": "eins", "en": "one"}], "de-en", ("eins", "one")),
        ([{"source": "eins", "target": "one"}], None, ("eins", "one")),
        ([{"document": "eins", "summary": "one"}], "document:summary", ("eins", "one")),
    ],
)
def test_any_data_set_of_the_hub(hub, tmp_path, rows, languages, expected):
    hub.held["someone/something"] = {"train": rows, "dev": rows}
    splits = load_source("hub:someone/something:large", languages, cache=tmp_path)
    assert list(splits.train) == list(splits.valid) == [expected]
    assert splits.test is None
    assert hub.asked[0][:2] == ("someone/something", "large")


@pytest.mark.parametrize(
    ("splits", "languages", "message"),
    [
        ({"train": [{"de": "a"}]}, "de-en", "hub:own/data, train, row 1: no column 'en'; there: de"),
        ({"train": [{"de": "a", "en": None}]}, "de-en", "row 1: expected text in column 'en', found null"),
        ({"train": []}, "de-en", "hub:own/data, train: the split has no rows"),
        ({"all": TRANSLATIONS}, "de-en", "hub:own/data: no split named train; there: all"),
        ({"train": TRANSLATIONS}, "german", "expected a pair"),
    ],
)
def test_faulty_data_sets(hub, tmp_path, splits, languages, message):
    hub.held["own/data"] = splits
    with pytest.raises(UserError, match=message):
        list(load_source("hub:own/data", languages, cache=tmp_path).train)


def test_a_data_set_that_cannot_be_had(hub, tmp_path):
    with pytest.raises(
        UserError, match=r"hub:no/such \(big\) could not be loaded: FileNotFoundError: .* or give the text"
    ):
        load_source("hub:no/such:big", "en-de", cache=tmp_path)


def test_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the datasets library, .* pip install 'seqdistill\[hub\]'"):
        load_source("multi30k", cache=tmp_path)


def test_the_library_itself_reads_a_folder(tmp_path):
    pytest.importorskip("datasets", reason="the extra hub is not installed")
    folder = tmp_path / "data"
    folder.mkdir()
    for split, rows in {"train": TRANSLATIONS, "validation": TRANSLATIONS[:1]}.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = load_hub(str(folder), cache=tmp_path / "cache")
    assert set(data.splits) == {"train", "validation"}
    assert list(load_source(f"hub:{folder}", "en-de", cache=tmp_path / "cache").train) == [
        ("one", "eins"),
        ("two", "zwei"),
    ]
    with pytest.raises(UserError, match="could not be loaded"):
        load_hub(str(tmp_path / "nowhere"), cache=tmp_path / "cache")
