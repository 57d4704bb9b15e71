"""Every non-autoregressive model learns to copy and to reverse in seconds."""

from typing import Any

import pytest
import torch

from seqdistill.data.batches import Batch, collate
from seqdistill.decoding.decode import decode
from seqdistill.models.family import FAMILIES, resolved
from seqdistill.models.interface import CountsUpdates
from seqdistill.options import DecodingOptions
from seqdistill.vocabulary.sentencepiece import EOS

VOCAB = 12
SIZES = {"dim": 32, "ffn_dim": 64, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "dropout": 0.0}
FASTER = {
    "inat": {"train_iterations": 2},
    "flowseq": {
        **{"posterior_layers": 1, "flow_steps": "1,1", "flow_ffn_dim": 32, "word_dropout": 0.0},
        **{"autoencoder_updates": 40, "kl_updates": 40},
    },
}
"""What keeps a test short."""


@pytest.mark.parametrize(
    ("name", "task", "longest", "updates", "options"),
    [
        ("nat", "copy", 4, 150, {}),
        ("nat", "copy", 4, 150, {"length": "absolute"}),
        ("nat", "reverse", 3, 500, {}),
        ("inat", "copy", 4, 100, {}),
        ("inat", "reverse", 4, 250, {}),
        ("cmlm", "copy", 4, 250, {}),
        ("cmlm", "reverse", 4, 250, {}),
        ("flowseq", "copy", 3, 160, {}),
        ("flowseq", "reverse", 3, 200, {}),
    ],
)
def test_learns(name: str, task: str, longest: int, updates: int, options: dict[str, Any]) -> None:
    """Sentences of 1 to `longest` words, at least 95 of 100 new ones without a mistake."""
    torch.manual_seed(0)
    model_class, config_class = resolved(FAMILIES[name].model), FAMILIES[name].config
    model: Any = model_class(config_class(VOCAB, VOCAB, **SIZES, **FASTER.get(name, {}), **options)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1.2e-2, betas=(0.9, 0.98))
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = 1.2e-2 * min(1.0, (update + 1) / 20) * (1 - update / updates)
        optimizer.zero_grad()
        if isinstance(model, CountsUpdates):
            model.begin_update()
        loss = model.loss(sentences(32, task, longest))
        (loss.total / loss.count).backward()
        optimizer.step()
    unseen = sentences(200, task, longest)
    hypotheses = decode(model.eval(), unseen.source, DecodingOptions(beam=1))
    targets = [tuple(row[: row.index(EOS)]) for row in unseen.target.tolist()]
    right = sum(group[0].tokens == target for group, target in zip(hypotheses, targets, strict=True))
    assert right >= 190


def sentences(count: int, task: str, longest: int) -> Batch:
    lengths = torch.randint(1, longest + 1, (count,)).tolist()
    sources = [torch.randint(5, VOCAB, (length,)).tolist() for length in lengths]
    return collate([(words, words if task == "copy" else words[::-1]) for words in sources])
