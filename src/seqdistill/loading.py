"""`seqdistill.load`: an exported model in milliseconds, without torch; a trained one as the command line has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqdistill.exported import is_exported

if TYPE_CHECKING:
    from seqdistill.api import Translator
    from seqdistill.native.student import Student


def load(model: str | Path, **options: Any) -> Translator | Student:
    """Loads a model that translates.

    Args:
        model: directory of an exported model, or of a trained one, as `train` left it.
        options: of `seqdistill translate`, such as engine="ctranslate2" or beam=1; those of decoding can be given
            again with every call. An exported model has its own of decoding, and `threads`, batches decoded side by
            side (0: one for each core).

    Raises:
        UserError: no model there, or a damaged one; an option that it or the engine has not.
    """
    if isinstance(model, str | Path) and is_exported(model) and not options.keys() & _OF_ENGINES:
        from seqdistill.native.student import Student

        return Student(model, **options)
    from seqdistill.api import Translator
    from seqdistill.options import LoadOptions

    return Translator(LoadOptions.read({"model": model, **options}, where="seqdistill.load"))


_OF_ENGINES = frozenset(
    ("engine", "device", "compute_type", "expert", "penalty_file", "prefix", "prefix_file", "allowed_file", "rerank")
)
"""Options that the whole program reads; with one of them an exported model is loaded as a trained one is."""
