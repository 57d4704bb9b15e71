"""Folders as they lie on the hub, made from a little text: Marian's, NLLB's and GPT's."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

NOUNS = ["dog", "cat", "house", "tree", "child", "bird", "book", "street"]
VERBS = ["sees", "finds", "loves", "paints", "leaves"]


def pairs(count: int, *, seed: int = 1) -> list[tuple[str, str]]:
    """English-like sentences and the same backwards, in capitals."""
    draw = random.Random(seed)
    sentences = [f"the {draw.choice(NOUNS)} {draw.choice(VERBS)} the {draw.choice(NOUNS)}" for _ in range(count)]
    return [(sentence, " ".join(reversed(sentence.split())).upper()) for sentence in sentences]


def _sentencepiece(lines: list[str], *, vocab_size: int) -> bytes:
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=writer, vocab_size=vocab_size, minloglevel=2, hard_vocab_limit=False
    )
    return writer.getvalue()


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def marian_folder(folder: Path, *, codes: tuple[str, ...] = ()) -> Path:
    """source.spm, target.spm, and a vocab.json that numbers the pieces of both: EOS 0, UNK 1, PAD last."""
    folder.mkdir(parents=True)
    text, pieces = pairs(200), dict.fromkeys(codes)
    for side, lines in (("source", [pair[0] for pair in text]), ("target", [pair[1] for pair in text])):
        model = _sentencepiece(lines, vocab_size=60)
        (folder / f"{side}.spm").write_bytes(model)
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        pieces |= dict.fromkeys(processor.id_to_piece(i) for i in range(3, len(processor)))
    names = ["</s>", "<unk>", *pieces, "<pad>"]
    _json(folder / "vocab.json", {name: number for number, name in enumerate(names)})
    _json(folder / "config.json", {"decoder_start_token_id": len(names) - 1, "eos_token_id": 0})
    return folder


def nllb_folder(folder: Path) -> Path:
    """BPE with Metaspace and language codes, as NLLB: the decoder starts with EOS and is forced to write a code."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False)
    tokenizer.train_from_iterator([side for pair in pairs(200) for side in pair], trainer)
    added = ["eng_Latn", "deu_Latn", "<mask>"]
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in added])
    tokenizer.save(str(folder / "tokenizer.json"))
    symbols = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": "<pad>"}
    special = {f"{role}_token": text for role, text in symbols.items()}
    _json(folder / "tokenizer_config.json", special | {"mask_token": {"content": "<mask>"}})
    _json(folder / "config.json", {"decoder_start_token_id": 2})
    return folder


def gpt_folder(folder: Path) -> Path:
    """Byte-level BPE with one special symbol, as GPT-2."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([side for pair in pairs(200) for side in pair], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    _json(folder / "special_tokens_map.json", {f"{role}_token": "<|endoftext|>" for role in ("bos", "eos", "unk")})
    return folder
