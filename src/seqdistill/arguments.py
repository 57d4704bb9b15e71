"""A verb's settings as options of the command line: every field one option, its description the help."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Annotated, Any, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from seqdistill.errors import UserError
from seqdistill.options import Options


def command(
    within: typer.Typer, settings: type[Options], example: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Registers `function(settings, **others)` as a verb whose options are the fields of `settings`."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "settings"]
        fields = [
            _parameter(name, field, named=name not in settings.arguments)
            for name, field in settings.model_fields.items()
        ]
        verb = function.__name__.replace("_", "-")
        where = " ".join(dict.fromkeys(["seqdistill", str(within.info.name), verb]))

        def run_verb(**values: Any) -> None:
            given = {name: values.pop(name) for name in settings.model_fields}
            for name, field in settings.model_fields.items():
                if _is_mapping(field):
                    given[name] = _mapping(name, given[name])
            function(settings=settings.read(given, where=where), **values)

        signature = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *fields]]
        run_verb.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        run_verb.__annotations__ = {p.name: p.annotation for p in signature}
        run_verb.__doc__ = function.__doc__
        within.command(verb, epilog=f"Example: {example}")(run_verb)
        return function

    return register


def _parameter(name: str, field: FieldInfo, *, named: bool) -> inspect.Parameter:
    kind: Any = field.annotation
    if not named:
        argument = typer.Argument(help=field.description)
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, argument])
    flag = f"--{name.replace('_', '-')}"
    default: Any = field.default
    if _is_mapping(field):
        kind = list[str]
    if field.default_factory is not None:
        default = []
    elif kind is bool:
        flag = f"{flag}/--no-{name.replace('_', '-')}"
    if default is PydanticUndefined:
        default = inspect.Parameter.empty
    option = typer.Option(flag, help=field.description, show_default=default not in (None, "", []))
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _is_mapping(field: FieldInfo) -> bool:
    """Whether the option is KEY=VALUE, again and again."""
    return get_origin(field.annotation) is dict


def _mapping(name: str, pairs: list[str]) -> dict[str, Any]:
    """The values of a repeated KEY=VALUE, of --set numbers, true and false as in a recipe; anything else is text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            example = "KEY=VALUE, such as --set dim=256" if name == "set" else f"NAME=PATH, such as --{name} a=PATH"
            raise UserError(f"--{name} expects {example}, but got {pair!r}")
        if key in found and name != "set":
            raise UserError(f"--{name} names {key!r} twice; give each a name of its own")
        found[key] = _plain(value) if name == "set" else value
    return found


def _plain(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
