"""What the options of every verb have in common: how they are read, and which of them decide the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from seqdistill.errors import UserError, nearest

S = TypeVar("S", bound="Options")

OneOrMore = BeforeValidator(lambda value: [value] if isinstance(value, str | Path) else value)
"""A list of which a single value may be given as it is."""


class Options(BaseModel):
    """Options of one verb. A field's description is its help text."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    inputs: ClassVar[tuple[str, ...]] = ()
    """Fields that name directories or files: their content counts, not their path."""
    arguments: ClassVar[tuple[str, ...]] = ()
    """Fields that the command line takes without a name."""

    @classmethod
    def read(cls: type[S], values: Mapping[str, Any], *, where: str) -> S:
        """Checks and converts plain values.

        Args:
            where: named in errors, such as "recipe.toml: [train.teacher]".

        Raises:
            UserError: an unknown key (names the nearest valid one), a missing one, or a value of another type.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            problems = []
            for problem in error.errors():
                key = ".".join(str(part) for part in problem["loc"]) or "options"
                if problem["type"] == "extra_forbidden":
                    problems.append(f"unknown key {key!r}; {nearest(key, list(cls.model_fields))}")
                elif problem["type"] == "missing":
                    problems.append(f"{key!r} is required: {cls.model_fields[key].description}")
                else:
                    problems.append(f"{key!r}: {problem['msg']}, but it is {problem['input']!r}")
            raise UserError(f"{where}: " + "; ".join(problems)) from None

    def given_inputs(self) -> Iterator[tuple[str, Path]]:
        """Each input that is given, by its field; several of one are numbered from 1, or go by their names."""
        for name in self.inputs:
            value = getattr(self, name)
            if isinstance(value, dict):
                yield from ((f"{name} {key}", path) for key, path in value.items())
            elif isinstance(value, list) and len(value) > 1:
                yield from ((f"{name} {number}", path) for number, path in enumerate(value, 1))
            elif isinstance(value, list):
                yield from ((name, path) for path in value)
            elif value is not None:
                yield name, Path(value)

    def recorded(self) -> dict[str, Any]:
        """The values as JSON, but for inputs, whose content is recorded."""
        return self.model_dump(mode="json", exclude={*self.inputs})

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The defaults of these values; those without one are left out."""
        return {
            name: field.get_default(call_default_factory=True)
            for name, field in cls.model_fields.items()
            if not field.is_required() and name not in cls.inputs
        }
