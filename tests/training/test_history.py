"""Which checkpoint is kept: by the metric, and of equals by the loss; the log says so."""

import pytest

from seqdistill.options import TrainingOptions
from seqdistill.training.checkpoint import Validation
from seqdistill.training.history import chosen, equals, exhausted


def history(*rows: tuple[float, float]) -> list[Validation]:
    """Validations after 100, 200, ... updates of these BLEUs and losses."""
    return [Validation(100 * (n + 1), {"bleu": bleu, "loss": loss}) for n, (bleu, loss) in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "best", "tied"),
    [
        ([(0.0, 3.0), (0.0, 2.0), (0.0, 1.0), (0.0, 1.5)], 300, [100, 200, 300, 400]),
        ([(0.0, 3.0), (5.0, 9.0), (0.0, 1.0)], 200, []),
        ([(5.0, 3.0), (5.0, 3.0), (0.0, 1.0)], 100, [100, 200]),
    ],
)
def test_of_equal_bleus_the_lower_loss_is_kept(rows, best, tied):
    """A BLEU of 0.0 four times kept the first of four checkpoints, whatever its loss."""
    found = history(*rows)
    assert chosen(found, metric="bleu", average="best", count=1) == [best]
    assert equals(found, "bleu") == tied


def test_patience_goes_on_while_the_loss_of_equals_falls():
    options = TrainingOptions(patience=2, validate_every=100)
    assert not exhausted(history((0.0, 3.0), (0.0, 2.0), (0.0, 1.0)), options)
    assert exhausted(history((0.0, 3.0), (0.0, 3.0), (0.0, 4.0)), options)
