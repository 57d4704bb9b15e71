"""Home Assistant's translations from a tiny wheel of the same form, and pip as a program that stands in."""

import json
import sys
import zipfile

import pytest

from seqdistill.errors import UserError
from seqdistill.files import sha256_file
from seqdistill.progress import Silent
from seqdistill.text import homeassistant
from seqdistill.text.homeassistant import WHEEL, aligned_translations, fetch_wheel, translations
from seqdistill.text.sources import load_source, multiway
from seqdistill.text.splits import source_key

NOUNS = ["door", "window", "lamp", "pump", "valve", "fan", "mower", "oven"]
GERMAN = ["Tür", "Fenster", "Lampe", "Pumpe", "Ventil", "Lüfter", "Mäher", "Ofen"]


def component(noun, word):
    """Four texts that differ in more than a digit, and near-copies of each."""
    english = {f"{verb}{n}": f"{verb} the {noun} {n}" for verb in ("Open", "Close", "Check", "Clean") for n in (1, 2)}
    german = {key: text.replace("the ", "").replace(noun, word) + " bitte" for key, text in english.items()}
    english |= {"only_here": "Not translated", "name": "{name}", "number": "40°", "copy": "Backup"}
    german |= {"name": "{name}", "number": "40°", "copy": "Backup", "only_there": "Nur hier"}
    return english, german


def make_wheel(path):
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for noun, word in zip(NOUNS, GERMAN, strict=True):
            english, german = component(noun, word)
            folder = f"homeassistant/components/{noun}/translations"
            archive.writestr(
                f"{folder}/en.json", json.dumps({"state": {"deep": english}, "title": f"The {noun}\n\nhere"})
            )
            archive.writestr(f"{folder}/de.json", json.dumps({"title": f"{word} hier", "state": {"deep": german}}))
            if noun != "oven":
                french = {key: f"{text} s'il vous plaît" for key, text in english.items()}
                archive.writestr(f"{folder}/fr.json", json.dumps({"state": {"deep": french}}))
        archive.writestr("homeassistant/components/door/strings.json", '{"title": "Not a translation"}')
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    wheel = make_wheel(tmp_path / "home-assistant" / WHEEL)
    monkeypatch.setattr(homeassistant, "WHEEL_SHA256", sha256_file(wheel))
    return tmp_path


def test_texts_are_matched_by_component_and_key(cache):
    parts = aligned_translations(("en", "de"), cache, Silent(), held_out=0)
    rows = parts["train"]
    assert ("The door here", "Tür hier") in rows, "line breaks are one space"
    assert ("Open the oven 2", "Open Ofen 2 bitte") in rows
    texts = {text for row in rows for text in row}
    assert texts.isdisjoint({"{name}", "40°", "Backup", "Not translated", "Nur hier", "Not a translation"})
    assert len(rows) == len(set(rows)) == 8 * 9


def test_near_copies_never_lie_on_both_sides(cache):
    splits = translations(("en", "de"), cache, Silent(), held_out=6)
    train, valid, test = (list(part) for part in splits)
    assert len(valid) == len(test) == 6
    keys = [{source_key(pair.source) for pair in part} for part in splits]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]
    near = {f"{verb} the {noun} " for verb in ("Open", "Close", "Check", "Clean") for noun in NOUNS}
    tested = {stem for stem in near if any(pair.source.startswith(stem) for pair in [*valid, *test])}
    assert tested and not any(pair.source.startswith(stem) for stem in tested for pair in train)


def test_a_pair_and_its_reverse_hold_out_the_same_english(cache):
    forward, backward = (translations(pair, cache, Silent(), held_out=6) for pair in (("en", "de"), ("de", "en")))
    assert {source_key(pair.source) for pair in forward.test} == {source_key(pair.target) for pair in backward.test}


def test_several_languages_at_once(cache):
    rows = aligned_translations(("en", "de", "fr"), cache, Silent(), held_out=0)["train"]
    assert ("Open the door 1", "Open Tür 1 bitte", "Open the door 1 s'il vous plaît") in rows
    assert len(rows) == 7 * 8 and not any("oven" in row[0] for row in rows)


def test_several_target_languages_are_a_pair_each(cache):
    splits = translations(("en", "de", "fr"), cache, Silent(), held_out=6)
    parts = aligned_translations(("en", "de", "fr"), cache, Silent(), held_out=6)
    for split, rows in zip(splits, parts.values(), strict=True):
        assert split.num_targets == 2
        assert list(split) == [(row[0], target) for row in rows for target in row[1:]]
    assert splits.train.name == "home-assistant:en-de+fr:train" and len(list(splits.test)) == 12


def test_the_same_bytes_each_time(cache):
    one, two = (aligned_translations(("en", "de"), cache, Silent(), held_out=5) for _ in range(2))
    assert json.dumps(one) == json.dumps(two)


def test_by_name_a_thousand_are_held_out_for_each(cache):
    with pytest.raises(UserError, match="2,000 pairs were to be held out"):
        load_source("home-assistant", "de-en", cache=cache)
    with pytest.raises(UserError, match="2,000 pairs were to be held out"):
        multiway(("en", "de", "fr"), cache=cache)
    with pytest.raises(UserError, match="2,000 pairs were to be held out"):
        load_source("home-assistant", "en-fr+de", cache=cache)


def test_a_missing_language_lists_those_there(cache):
    with pytest.raises(UserError, match="home-assistant: no language 'eo'; there: de, en, fr"):
        load_source("home-assistant", "en-eo", cache=cache)


def test_an_altered_wheel_is_refused(cache):
    wheel = cache / "home-assistant" / WHEEL
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"expected a file with sha256 [0-9a-f]{64}, found [0-9a-f]{64}: it was cut"):
        fetch_wheel(cache, Silent())


FAKE_PIP = """
import pathlib, shutil, sys
assert sys.argv[1:4] == ["-m", "pip", "download"], sys.argv
assert sys.argv[-1] == "homeassistant==2026.2.3" and "--no-deps" in sys.argv
shutil.copy({wheel!r}, pathlib.Path(sys.argv[sys.argv.index("--dest") + 1]) / {name!r})
"""


def test_pip_downloads_into_the_cache_once(cache, tmp_path, program, monkeypatch):
    wheel = cache / "home-assistant" / WHEEL
    source = wheel.replace(tmp_path / "elsewhere.whl")
    pip = program("python", FAKE_PIP.format(wheel=str(source), name=WHEEL))
    monkeypatch.setattr(sys, "executable", str(pip))
    assert fetch_wheel(cache, Silent()) == wheel
    pip.unlink()
    assert fetch_wheel(cache, Silent()) == wheel, "a second time no pip is needed"
    assert [path.name for path in wheel.parent.iterdir()] == [WHEEL]


def test_a_download_of_other_bytes_is_refused_and_leaves_nothing(cache, tmp_path, program, monkeypatch):
    (cache / "home-assistant" / WHEEL).unlink()
    other = tmp_path / "other.whl"
    other.write_bytes(b"other")
    monkeypatch.setattr(sys, "executable", str(program("python", FAKE_PIP.format(wheel=str(other), name=WHEEL))))
    with pytest.raises(UserError, match="expected a file with sha256"):
        fetch_wheel(cache, Silent())
    assert list((cache / "home-assistant").iterdir()) == []


@pytest.mark.parametrize("said", ["No module named pip", "ERROR: No matching distribution found"])
def test_pip_or_the_network_fails(tmp_path, program, monkeypatch, said):
    monkeypatch.setattr(sys, "executable", str(program("python", f"import sys; sys.exit({said!r})")))
    with pytest.raises(UserError, match=rf"pip could not download .*it said: {said}\. .*put it at .*{WHEEL}"):
        fetch_wheel(tmp_path / "cache", Silent())
