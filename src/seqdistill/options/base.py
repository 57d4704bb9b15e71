"""What the options of every concern have in common: how they are read, which exist, and which decide the result."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from inspect import get_annotations
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo

from seqdistill.errors import UserError, nearest

S = TypeVar("S", bound="Options")

MOST = 10**9
"""Largest number of lines, updates, words or whatever else is counted: more than any corpus or training has."""

OneOrMore = BeforeValidator(lambda value: [value] if isinstance(value, str | Path) else value)
"""A list of which a single value may be given as it is."""


class Option(NamedTuple):
    """One option as users name it, on the command line with dashes."""

    name: str
    field: FieldInfo
    default: Any
    """None for one that is required, too; see `required`."""
    required: bool
    help: str


class Options(BaseModel):
    """Options of one concern, or of a verb, which combines concerns by inheritance. A field's description is its help.

    A field is defined, with help, default and range, in one class only; a subclass may narrow its type (`data: Path`
    makes an optional one required) and inherits the help. A field `rollout` that holds options itself is offered as
    `rollout_beam` and so on: the options of another concern under a prefix.

    Raises:
        UserError: from the constructor, for an unknown name (says the nearest valid one), one that is missing, or a
            value out of range; all mistakes at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    inputs: ClassVar[tuple[str, ...]] = ()
    """Fields that name directories or files: their content counts, not their path."""
    arguments: ClassVar[tuple[str, ...]] = ()
    """Fields that the command line takes without a name."""
    without: ClassVar[tuple[str, ...]] = ()
    """Fields of its concerns that a verb leaves at their defaults: nobody can give them."""
    helps: ClassVar[Mapping[str, str]] = {}
    """What fields of its concerns mean for this verb, where their own help says it for others."""

    if not TYPE_CHECKING:  # type checkers know the fields of each class

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise UserError("; ".join(map(self._said, error.errors()))) from None

        __init__.__pydantic_base_init__ = True  # pydantic: validate as if there were no __init__ of our own

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Narrowed fields keep the help of the class that defines them."""
        for name, field in cls.model_fields.items():
            if field.description is None:
                parents = (base.model_fields.get(name) for base in cls.__mro__[1:] if issubclass(base, Options))
                field.description = next(parent.description for parent in parents if parent and parent.description)

    @classmethod
    def read(cls: type[S], values: Mapping[str, Any], *, where: str) -> S:
        """Checks and converts plain values.

        Args:
            where: named in errors, such as "recipe.toml: [train.teacher]".

        Raises:
            UserError: as the constructor.
        """
        try:
            for name in cls.without:
                if name in values:
                    raise UserError(f"unknown key {name!r}; {nearest(name, cls.offered())}")
            return cls(**values)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, values: Any) -> Any:
        """Puts `rollout_beam` where it belongs, into the options `rollout`, whose other values stay the default's."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for name, default in cls._prefixed().items():
            names = {f"{name}_{field}": field for field in type(default).model_fields}
            if given := {names[key]: values.pop(key) for key in list(values) if key in names}:
                values[name] = {**values.get(name, default).given(), **given}
        return values

    @classmethod
    def _prefixed(cls) -> dict[str, Options]:
        """The fields that hold options themselves, and their defaults."""
        return {name: field.default for name, field in cls.model_fields.items() if isinstance(field.default, Options)}

    @classmethod
    @cache
    def offered(cls) -> Mapping[str, Option]:
        """All options by name: the verb's own first, then those of its concerns."""
        order = {name: None for base in cls.__mro__ for name in get_annotations(base)}
        found: dict[str, Option] = {}
        for name in (name for name in order if name in cls.model_fields and name not in cls.without):
            field = cls.model_fields[name]
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            help_text = cls.helps.get(name) or field.description or ""
            if isinstance(default, Options):
                for option in default.offered().values():
                    value = getattr(default, option.name)
                    within = option._replace(name=f"{name}_{option.name}", default=value)
                    found[within.name] = within._replace(help=f"{help_text} {option.help}")
            else:
                found[name] = Option(name, field, default, field.is_required(), help_text)
        return found

    def values(self, concern: type[Options] | None = None) -> dict[str, Any]:
        """The value of every option by its name, or of one concern's options."""
        found = {}
        for name in (concern or type(self)).model_fields:
            value = getattr(self, name)
            within = (
                {f"{name}_{key}": each for key, each in value.values().items()} if isinstance(value, Options) else {}
            )
            found |= within or {name: value}
        return found

    def given(self) -> dict[str, Any]:
        """The values that were given, by field."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    def replaced(self: S, **changes: Any) -> S:
        """The same options with others in some places, checked again."""
        return type(self)(**{**self.given(), **changes})

    @classmethod
    def _said(cls, problem: Any) -> str:
        """A problem that pydantic found, in our words."""
        first, *others = (str(part) for part in problem["loc"]) if problem["loc"] else ("options",)
        key = ("_" if first in cls._prefixed() else ".").join([first, *others])
        kind, value = problem["type"], problem["input"]
        if kind == "extra_forbidden":
            return f"unknown key {key!r}; {nearest(key, cls.offered())}"
        if kind == "missing":
            return f"{key!r} is required: {cls.offered()[key].help}"
        if kind == "value_error":
            prefix = f"{first}_*: " if first in cls._prefixed() else ""
            return f"{prefix}{problem['ctx']['error']}"
        if kind == "literal_error" and isinstance(value, str):
            choices = problem["ctx"]["expected"].replace(" or ", ", ").split(", ")
            return f"unknown {key} {value!r}; {nearest(value, [choice.strip(chr(39)) for choice in choices])}"
        return f"{key!r}: {problem['msg']}, but it is {value!r}"

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
        return _as_json(self.values(), without=self.inputs)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The defaults of these values; those without one are left out."""
        offered = cls.offered().values()
        return _as_json({option.name: option.default for option in offered if not option.required}, without=cls.inputs)


def _as_json(values: Mapping[str, Any], *, without: Collection[str]) -> dict[str, Any]:
    kept = {name: value for name, value in values.items() if name not in without}
    return {name: str(value) if isinstance(value, Path) else value for name, value in kept.items()}
