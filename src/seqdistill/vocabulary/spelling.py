"""Text and pieces that a user gives for outputs, as token ids, each checked."""

from __future__ import annotations

from collections.abc import Iterable

from seqdistill.errors import UserError
from seqdistill.vocabulary.vocabulary import Vocabulary


def each_spelled(texts: Iterable[str], tokenizer: Vocabulary, *, where: str) -> list[list[int]]:
    """Token ids of what each output begins with; raises as `spelled`, with the line."""
    return [spelled(text, tokenizer, where=f"{where}, line {line}") for line, text in enumerate(texts, 1)]


def spelled(text: str, tokenizer: Vocabulary, *, where: str) -> list[int]:
    """Token ids of a text.

    Raises:
        UserError: the vocabulary cannot spell it, or it is no text.
    """
    try:
        text.encode()
    except UnicodeEncodeError:  # of the command line, half a surrogate pair stands for a byte
        raise UserError(f"{where}: holds a byte that is not UTF-8; give text") from None
    ids, unknown = tokenizer.encode(text), tokenizer.ids.unk
    if unknown is None or unknown not in ids:
        return ids
    # For the message: the first word that cannot be spelled, and in it the first letter.
    word = next((word for word in text.split() if unknown in tokenizer.encode(word)), text)
    piece = next((letter for letter in word if unknown in tokenizer.encode(letter)), word)
    raise UserError(
        f"{where}: the vocabulary of the model's target side cannot spell {piece!r} in {word!r}; "
        "write it otherwise, or leave it out"
    )


def pieces_allowed(texts: Iterable[str], tokenizer: Vocabulary, *, where: str) -> list[list[int]]:
    """Token ids of what each output may be made of: pieces with spaces between them.

    Raises:
        UserError: a piece that the vocabulary does not have.
    """
    ids, rows = {tokenizer.piece(token): token for token in range(len(tokenizer))}, []
    for line, text in enumerate(texts, 1):
        if unknown := next((piece for piece in text.split() if piece not in ids), None):
            raise UserError(
                f"{where}, line {line}: {unknown!r} is no piece of the model's target vocabulary; give pieces, such as "
                f"{tokenizer.piece(len(tokenizer) - 1)!r}, with spaces between them"
            )
        rows.append([ids[piece] for piece in text.split()])
    return rows
