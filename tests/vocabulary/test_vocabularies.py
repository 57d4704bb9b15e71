"""Vocabularies of others, against the libraries that made them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import foreign
import pytest
import sentencepiece
from tokenizers import Tokenizer

from seqdistill.errors import UserError
from seqdistill.vocabulary.ids import SpecialIds
from seqdistill.vocabulary.vocabularies import Vocabularies, taken_from
from seqdistill.vocabulary.vocabulary import side_for_model

TEXT = [side for pair in foreign.pairs(30, seed=5) for side in pair]
FOLDERS = {"marian": foreign.marian_folder, "nllb": foreign.nllb_folder, "gpt": foreign.gpt_folder}
LANGUAGES = {"nllb": {"source_language": "eng_Latn", "target_language": "deu_Latn"}}


@pytest.fixture(params=FOLDERS)
def taken(request: pytest.FixtureRequest, tmp_path: Path) -> Vocabularies:
    folder = FOLDERS[request.param](tmp_path / "folder")
    return taken_from(folder, **LANGUAGES.get(request.param, {}))


def test_text_comes_back_and_special_ids_leave_no_trace(taken: Vocabularies) -> None:
    ids = taken.target.ids
    for _, text in foreign.pairs(30, seed=5):
        encoded = taken.target.encode(text)
        assert not {*encoded} & {*ids.no_words}
        around = [*ids.decoder_prompt, ids.decoder_start, *encoded, ids.eos, ids.pad]
        assert taken.target.decode(encoded) == taken.target.decode(around) == text
    assert taken.source.encode_batch(TEXT) == [taken.source.encode(text) for text in TEXT]
    assert taken.source.encode("") == []


def test_saved_and_pickled_it_is_the_same(taken: Vocabularies, tmp_path: Path) -> None:
    taken.save(tmp_path / "saved")
    taken.save(tmp_path / "saved")
    for again in (Vocabularies.load(tmp_path / "saved"), pickle.loads(pickle.dumps(taken))):
        assert again.fingerprint == taken.fingerprint and again.joint
        assert [side.ids for side in again[:2]] == [side.ids for side in taken[:2]]
        assert again.source.encode_batch(TEXT) == taken.source.encode_batch(TEXT)
        assert again.target.encode_batch(TEXT) == taken.target.encode_batch(TEXT)


def test_every_piece_has_a_name_of_its_own(taken: Vocabularies) -> None:
    for side in taken[:2]:
        assert len({side.piece(token) for token in range(len(side))}) == len(side)


def test_an_altered_file_is_found(taken: Vocabularies, tmp_path: Path) -> None:
    taken.save(tmp_path / "saved")
    (path,) = [path for name in ("vocab.json", "tokenizer.json") if (path := tmp_path / "saved" / name).exists()]
    path.write_text(path.read_text().replace("dog", "god").replace("house", "hause"))
    with pytest.raises(UserError, match=r"(vocab|tokenizer)\.json: was cut or altered"):
        Vocabularies.load(tmp_path / "saved")


def test_marian_numbers_the_pieces_of_sentencepiece(tmp_path: Path) -> None:
    folder = foreign.marian_folder(tmp_path / "opus")
    source, target, joint = taken_from(folder)
    table = json.loads((folder / "vocab.json").read_text())
    for side, vocabulary in (("source", source), ("target", target)):
        processor = sentencepiece.SentencePieceProcessor(str(folder / f"{side}.spm"))
        for text in TEXT:
            expected = [table.get(piece, 1) for piece in processor.encode(text, out_type=str)]
            assert vocabulary.encode(text) == expected
    last = len(table) - 1
    assert joint and len(source) == len(target) == len(table)
    assert source.ids == target.ids == SpecialIds(last, 0, last, unk=1, never_written=(1, last))


def test_marian_codes_stand_in_front_of_sources_and_are_never_written(tmp_path: Path) -> None:
    folder = foreign.marian_folder(tmp_path / "opus", codes=(">>fra<<", ">>ita<<"))
    plain, coded = taken_from(folder), taken_from(folder, target_language="ita")
    assert coded.source.encode(TEXT[0]) == [3, *plain.source.encode(TEXT[0])]
    assert coded.target.encode(TEXT[0]) == plain.target.encode(TEXT[0])
    assert {2, 3} < {*coded.target.ids.never_written}
    assert coded.fingerprint != plain.fingerprint
    with pytest.raises(UserError, match=r"vocab\.json: no code of the language 'deu'"):
        taken_from(folder, target_language="deu")
    with pytest.raises(UserError, match="codes of target languages only, but 'eng'"):
        taken_from(folder, source_language="eng")


def test_nllb_puts_codes_around_what_the_library_cuts(tmp_path: Path) -> None:
    folder = foreign.nllb_folder(tmp_path / "nllb")
    source, target, _ = taken_from(folder, source_language="eng_Latn", target_language="deu_Latn")
    library = Tokenizer.from_file(str(folder / "tokenizer.json"))
    english, german, mask = map(library.token_to_id, ("eng_Latn", "deu_Latn", "<mask>"))
    for text in TEXT:
        words = library.encode(text, add_special_tokens=False).ids
        assert source.encode(text) == [english, *words] and target.encode(text) == words
    never = (0, 1, 3, english, german, mask)
    assert source.ids == SpecialIds(1, 2, 2, bos=0, unk=3, mask=mask, never_written=never)
    assert target.ids == source.ids._replace(decoder_start=german, decoder_prompt=(2,))
    assert 2 not in target.encode("</s> the dog"), "text that spells a special symbol is ordinary text"
    with pytest.raises(UserError, match=r"tokenizer\.json: no code of the language 'fra_Latn'"):
        taken_from(folder, source_language="fra_Latn")


def test_gpt_gets_pad_after_the_last_id_and_mask_after_that(tmp_path: Path) -> None:
    folder = foreign.gpt_folder(tmp_path / "gpt")
    source, target, _ = taken_from(folder)
    library = Tokenizer.from_file(str(folder / "tokenizer.json"))
    known = library.get_vocab_size()
    for text in ["Äpfel 🍎 \t x", *TEXT]:
        assert source.encode(text) == library.encode(text).ids and source.decode(source.encode(text)) == text
    assert len(source) == known + 1
    assert target.ids == SpecialIds(known, 0, 0, bos=0, never_written=(known,))
    ids, size = side_for_model(target, mask=True)
    assert (ids.mask, size, ids.never_written) == (known + 1, known + 2, (known, known + 1))
    assert side_for_model(target, mask=False) == (target.ids, known + 1)
    assert 0 not in source.encode("<|endoftext|> is text"), "text that spells a special symbol is ordinary text"


class TestBrokenFolders:
    @pytest.mark.parametrize("name", ["source.spm", "target.spm", "vocab.json"])
    def test_marian_without_a_file(self, tmp_path: Path, name: str) -> None:
        folder = foreign.marian_folder(tmp_path / "opus")
        (folder / name).unlink()
        with pytest.raises(UserError, match=rf"{name} is missing \(found: config\.json"):
            taken_from(folder)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"</s>": 0, "<unk>": 2}', "ids 0, 1, 2"),
            ('{"</s>": 0', "cut or altered"),
            ('{"</s>": 0, "<unk>": 1}', "no pad"),
        ],
    )
    def test_marian_with_another_table(self, tmp_path: Path, text: str, message: str) -> None:
        folder = foreign.marian_folder(tmp_path / "opus")
        (folder / "config.json").unlink()
        (folder / "vocab.json").write_text(text)
        with pytest.raises(UserError, match=message):
            taken_from(folder)

    @pytest.mark.parametrize("name", ["nllb", "gpt"])
    def test_a_cut_tokenizer_json(self, tmp_path: Path, name: str) -> None:
        folder = FOLDERS[name](tmp_path / "folder")
        path = folder / "tokenizer.json"
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(UserError, match=r"tokenizer\.json: no whole tokenizer\.json"):
            taken_from(folder)

    def test_nothing_says_what_ends_a_sentence(self, tmp_path: Path) -> None:
        folder = foreign.gpt_folder(tmp_path / "gpt")
        (folder / "special_tokens_map.json").unlink()
        with pytest.raises(UserError, match="nothing says which symbol ends a sentence"):
            taken_from(folder)

    def test_a_config_of_another_model(self, tmp_path: Path) -> None:
        folder = foreign.gpt_folder(tmp_path / "gpt")
        (folder / "config.json").write_text('{"decoder_start_token_id": 50256}')
        with pytest.raises(UserError, match=r"names the special id 50256, but tokenizer\.json has"):
            taken_from(folder)

    def test_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").touch()
        with pytest.raises(UserError, match=r"holds no tokenizer: expected a data .*; found: model\.safetensors"):
            taken_from(tmp_path)
        with pytest.raises(UserError, match="found: no such directory"):
            taken_from(tmp_path / "nowhere")


def test_languages_of_a_data_directory_are_settled(tmp_path: Path) -> None:
    make: Callable[[Path], Path] = foreign.gpt_folder
    taken_from(make(tmp_path / "gpt")).save(tmp_path / "data" / "tokenizer")
    assert taken_from(tmp_path / "data").fingerprint == taken_from(tmp_path / "gpt").fingerprint
    with pytest.raises(UserError, match="languages are settled; leave out 'en'"):
        taken_from(tmp_path / "data", source_language="en")
