"""What share of a Levenshtein Transformer's training step goes into its labels? Prints, and writes nothing.

    python -m benchmarks.edits [--tokens N] [--dim N] [--layers N] [--repeats N] [--threads N]

A step is loss and gradients of a batch of random sentences, 8,000 words. Labels are the random part of each target,
both edit paths, placeholder counts and the masked target; guesses are the word head's most probable words, which the
deletions are learned from. All three are timed in turn; medians.
"""

from __future__ import annotations

import torch
from torch import Tensor

from evidence.rounds import medians, rounds
from evidence.script import arguments, execute
from seqdistill.data.batches import Batch, collate
from seqdistill.models.nonautoregressive.configs import LevenshteinTransformerConfig
from seqdistill.models.nonautoregressive.levenshtein import LevenshteinTransformer
from seqdistill.models.nonautoregressive.shared.canvas import most_probable, words_of
from seqdistill.models.nonautoregressive.shared.edits import (
    edit_path,
    placeholder_counts,
    random_part,
    with_placeholders,
)
from seqdistill.models.nonautoregressive.shared.slots import compacted
from seqdistill.training.memory import keep_freed_memory
from seqdistill.vocabulary.ids import OURS
from seqdistill.vocabulary.sentencepiece import MASK, PAD

VOCAB = 8000


def batch_of(sentences: int, length: int) -> Batch:
    """Random pairs; targets are up to three words shorter than the longest."""
    lengths = [max(length - row % 4, 1) for row in range(sentences)]
    words = torch.randint(5, VOCAB, (2, sentences, length)).tolist()
    return collate([(source[:n], target[:n]) for source, target, n in zip(*words, lengths, strict=True)])


def labels(words: Tensor) -> None:
    """All that the loss derives from a batch's targets; every second guess of the word head is right."""
    part = compacted(words, random_part(words, padding=PAD))
    positions = edit_path(part, words, padding=PAD)
    placeholder_counts(positions, (words != PAD).sum(1))
    masked = with_placeholders(words, positions, OURS)
    guessed = torch.where((masked == MASK) & (torch.rand(words.shape) < 0.5), words.roll(1, 0), words)
    edit_path(guessed.masked_fill(words == PAD, PAD), words, padding=PAD)


def compare(model: LevenshteinTransformer, tokens: int, length: int, repeats: int) -> dict[str, float]:
    """One line of the table: seconds of a step, of its labels and of its guesses."""
    batch = batch_of(max(tokens // length, 1), length)
    words = words_of(batch.target, OURS)
    hidden = torch.randn(words.numel() // 2, model.config.dim)

    def step() -> None:
        model.zero_grad()
        loss = model.loss(batch, label_smoothing=0.1)
        (loss.total / loss.count).backward()

    def guess() -> None:
        most_probable(hidden, model.target_embedding.weight.detach(), forbidden=OURS.no_words)

    return medians(rounds({"step": step, "labels": lambda: labels(words), "guesses": guess}, repeats, warmup=2))


def main() -> None:
    given = arguments(__doc__, tokens=1024, dim=128, layers=4, repeats=10, threads=1).parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    keep_freed_memory()
    layers = {"encoder_layers": given.layers, "decoder_layers": given.layers}
    sizes = {"dim": given.dim, "ffn_dim": 4 * given.dim, **layers, "heads": 4, "dropout": 0.1}
    model = LevenshteinTransformer(LevenshteinTransformerConfig(VOCAB, VOCAB, **sizes)).train()
    print(f"{given.tokens} target tokens, width {given.dim}, {given.layers} layers a side, {given.threads} threads")
    print("words a sentence    step ms   labels ms   share   guesses ms   share")
    for length in (10, 25, 50, 100, 250):
        taken = compare(model, given.tokens, length, given.repeats)
        step, made, guessed = (1000 * taken[name] for name in ("step", "labels", "guesses"))
        print(f"{length:16d} {step:10.1f} {made:11.2f} {made / step:7.2%} {guessed:12.2f} {guessed / step:7.2%}")


if __name__ == "__main__":
    execute(main)
