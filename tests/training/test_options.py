"""What may be asked of training, and how a wrong wish is turned down."""

from typing import Any

import pytest

from seqdistill.errors import UserError
from seqdistill.options import TrainingOptions
from seqdistill.training.options import scheduled_rate


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "blue"}, "unknown metric 'blue'; did you mean 'bleu'"),
        ({"precision": "bf16"}, "unknown precision 'bf16'; did you mean 'bfloat16'"),
        ({"schedule": "inverse_sqrt"}, "unknown schedule 'inverse_sqrt'; did you mean 'inverse-sqrt'"),
        ({"average": "lats"}, "unknown average 'lats'; did you mean 'last'"),
        ({"max_updates": 0}, "'max_updates': Input should be greater than or equal to 1, but it is 0"),
        ({"accumulate": 0}, "'accumulate': .* greater than or equal to 1"),
        ({"average_count": 0}, "'average_count': .* greater than or equal to 1"),
        ({"warmup": -1}, "'warmup': .* greater than or equal to 0, but it is -1"),
        ({"clip_norm": -0.5}, "'clip_norm': .* greater than or equal to 0, but it is -0.5"),
        ({"learning_rate": 0.0}, "'learning_rate': .* greater than 0"),
        ({"beta": 0.9}, "unknown key 'beta'"),
        ({"schedule": "linear", "warmup": 100}, "warmup is 100 and max_updates 100: shorten the warm-up"),
        ({"schedule": "cosine", "warmup": 500}, "falls to 0 between warmup and max_updates"),
    ],
)
def test_wrong_values_are_named_with_the_way_out(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TrainingOptions(**({"max_updates": 100} | options))


def test_the_rate_of_an_update_follows_from_the_options() -> None:
    options = TrainingOptions(max_updates=100, warmup=4, learning_rate=8.0)
    assert [scheduled_rate(update, options) for update in (1, 4, 16)] == [2.0, 8.0, 4.0]
