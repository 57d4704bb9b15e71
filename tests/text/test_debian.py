"""Debian's descriptions from prepared files of apt's own form, and apt-get as a program that stands in."""

import hashlib

import pytest

from seqdistill.errors import UserError
from seqdistill.progress import Silent
from seqdistill.text import debian
from seqdistill.text.debian import Description, fetch_descriptions, read_descriptions, summaries, translations
from seqdistill.text.sources import load_source
from seqdistill.text.splits import source_key


def entry(package, text, language, checksum=None):
    """One stanza of a Translation file."""
    checksum = checksum or hashlib.md5(package.encode()).hexdigest()
    return f"Package: {package}\nDescription-md5: {checksum}\nDescription-{language}: {text}\n\n"


GAME = """Strategy game
 A free game of
 ancient warfare.
 .
 It has:
  * maps
  - several   peoples
    and more
 .
 Enjoy."""


def test_a_description_is_unwrapped(tmp_path):
    path = tmp_path / "en.txt"
    path.write_text(entry("game", GAME, "en", "abc"))
    assert read_descriptions(path) == {
        ("game", "abc"): Description(
            "game",
            "Strategy game",
            ["A free game of ancient warfare.", "It has:", "maps", "several peoples and more", "Enjoy."],
        )
    }


def test_a_file_of_something_else(tmp_path):
    (tmp_path / "en.txt").write_text("Package: x\nnonsense\n")
    with pytest.raises(UserError, match=r"en\.txt, line 2: expected 'Field: value', found 'nonsense'"):
        read_descriptions(tmp_path / "en.txt")


LETTERS = "abcdefghijklmnopqrstuvwxyz"
NAMES = [one + two for one in LETTERS for two in LETTERS][:60]


def family(name, suffix):
    """Two packages of one family share a paragraph and differ in synopsis and in another."""
    word = f"{name}tool"
    shared = f"The {word} program reads and writes all known kinds of {word} documents on every system."
    return (
        f"{word} {suffix}\n {shared}\n .\n This has the {suffix} of {word}.",
        f"{word} auf Deutsch {suffix}\n Das Programm {word} liest alles.\n .\n Dies hat {suffix} von {word}.",
    )


@pytest.fixture
def cache(tmp_path):
    english, german = [], []
    for name in NAMES:
        for suffix in ("files", "manual"):
            texts = family(name, suffix)
            english.append(entry(f"{name}-{suffix}", texts[0], "en"))
            german.append(entry(f"{name}-{suffix}", texts[1], "de"))
    english += [entry("same", "Copied text", "en"), entry("odd", "Odd one\n First.\n .\n Second.", "en")]
    german += [entry("same", "Copied text", "de"), entry("odd", "Ein Rest\n Nur einer.", "de")]
    german.append(entry("aa-files", "Veraltet", "de", "0" * 32))
    for folder, files in (("en-de", {"en": english, "de": german}), ("en", {"en": english})):
        (tmp_path / "debian-descriptions" / folder).mkdir(parents=True)
        for language, entries in files.items():
            (tmp_path / "debian-descriptions" / folder / f"{language}.txt").write_text("".join(entries))
    return tmp_path


def everything(splits):
    return {pair for part in splits if part is not None for pair in part}


def test_pairs_of_synopses_and_paragraphs(cache):
    splits = translations("de", cache, Silent(), held_out=0)
    pairs = everything(splits)
    assert ("aatool files", "aatool auf Deutsch files") in pairs
    assert ("This has the manual of aatool.", "Dies hat manual von aatool.") in pairs
    assert ("Odd one", "Ein Rest") in pairs
    texts = {text for pair in pairs for text in pair}
    assert texts.isdisjoint({"Copied text", "First.", "Nur einer.", "Veraltet"})
    assert len(pairs) == 60 * 5 + 1, "what two packages share counts once"


@pytest.mark.parametrize(
    "load", [lambda cache: translations("de", cache, Silent(), 20), lambda cache: summaries(cache, Silent(), 20)]
)
def test_packages_that_share_a_paragraph_stay_together(cache, load):
    splits = load(cache)
    families = [{name for pair in part for name in NAMES if f"{name}tool" in pair.source} for part in splits]
    assert families[1] and families[2]
    assert not families[0] & families[1] and not families[0] & families[2]
    assert len(list(splits.valid)) == len(list(splits.test)) == 20
    keys = [{source_key(pair.source) for pair in part} for part in splits]
    assert not keys[0] & (keys[1] | keys[2])


def test_summaries_are_the_long_text_and_its_synopsis(cache):
    pairs = everything(summaries(cache, Silent(), held_out=0))
    assert ("First. Second.", "Odd one") in pairs
    assert all(
        "tool files" in pair.target or "tool manual" in pair.target or pair.target == "Odd one" for pair in pairs
    )
    assert len(pairs) == 121


def test_by_name(cache):
    with pytest.raises(UserError, match="no languages 'en-pl'; there: en-de, en-fr, en-it, summary"):
        load_source("debian-descriptions", "en-pl", cache=cache)
    with pytest.raises(UserError, match="2,000 pairs were to be held out"):
        load_source("debian-descriptions", "summary", cache=cache)


FAKE_APT = """
import pathlib, sys
options = dict(each.split("=", 1) for each in sys.argv if "::" in each and "=" in each)
lists = pathlib.Path(options["Dir::State::lists"])
assert options["Dir::Cache"].startswith(options["Dir::State"])
if sys.argv[1] == "update":
    assert (lists / "partial").is_dir()
    assert options["Acquire::Languages"] == "en,de"
    for suite in ("stable", "updates"):
        text = f"Package: {suite}\\nDescription-md5: 1\\nDescription-en: A tool of {suite}\\n\\n"
        (lists / f"{suite}_en").write_text(text)
    (lists / "stable_de").write_text("Package: stable\\nDescription-md5: 1\\nDescription-de: Ein Werkzeug\\n")
else:
    assert sys.argv[1] == "indextargets"
    for path in sorted(lists.iterdir()):
        if path.is_file():
            print(path.name[-2:], path)
    print("de", lists / "security_de")
"""


def test_apt_fetches_into_a_folder_of_its_own(tmp_path, program, monkeypatch):
    monkeypatch.setenv("PATH", str(program("apt-get", FAKE_APT).parent))
    folder = fetch_descriptions(("en", "de"), tmp_path / "cache", Silent())
    assert sorted(path.name for path in folder.iterdir()) == ["de.txt", "en.txt", "fetched.json"]
    assert list(read_descriptions(folder / "en.txt")) == [("stable", "1"), ("updates", "1")]
    assert read_descriptions(folder / "de.txt")["stable", "1"].synopsis == "Ein Werkzeug"
    monkeypatch.setenv("PATH", "")
    assert fetch_descriptions(("en", "de"), tmp_path / "cache", Silent()) == folder, "a second time no apt is needed"
    altered = (folder / "de.txt").read_bytes()
    (folder / "de.txt").write_bytes(altered[:3] + b"#" + altered[4:])
    with pytest.raises(UserError, match=r"de\.txt: was cut or altered .*; delete .*: it is fetched again"):
        fetch_descriptions(("en", "de"), tmp_path / "cache", Silent())
    (folder / "de.txt").write_bytes(altered)


def test_a_language_that_the_archive_lacks(tmp_path, program, monkeypatch):
    monkeypatch.setenv("PATH", str(program("apt-get", FAKE_APT.replace('"en,de"', '"en,fr"')).parent))
    with pytest.raises(UserError, match="no translations into 'fr'; choose one of de, fr, it"):
        fetch_descriptions(("en", "fr"), tmp_path / "cache", Silent())


def test_no_apt(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"needs apt-get, which this system does not have; .* another corpus, such as"):
        debian.translations("de", tmp_path, Silent())


def test_apt_fails(tmp_path, program, monkeypatch):
    monkeypatch.setenv("PATH", str(program("apt-get", "import sys; sys.exit('E: no network here')").parent))
    with pytest.raises(UserError, match=r"apt-get update failed; it said: E: no network here\. Check the network"):
        fetch_descriptions(("en", "de"), tmp_path, Silent())


def test_apt_fetches_nothing(tmp_path, program, monkeypatch):
    monkeypatch.setenv("PATH", str(program("apt-get", "print('Nothing to read')").parent))
    with pytest.raises(UserError, match="apt fetched no descriptions; it said: Nothing to read"):
        fetch_descriptions(("en", "de"), tmp_path, Silent())
