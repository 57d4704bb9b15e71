"""A verb's options as options of the command line: every field one option, its description the help."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Annotated, Any, get_origin

import typer

from seqdistill.errors import UserError
from seqdistill.options import Option, Options


def command(
    within: typer.Typer, kind: type[Options], example: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Registers `function(options, **others)` as a verb whose options are those of `kind`."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "options"]
        offered = kind.offered()
        parameters = [_parameter(option, named=name not in kind.arguments) for name, option in offered.items()]
        verb = function.__name__.replace("_", "-")
        where = " ".join(dict.fromkeys(["seqdistill", str(within.info.name), verb]))

        def run_verb(**values: Any) -> None:
            others = {name: values.pop(name) for name in list(values) if name not in offered}
            given = {name: value for name, value in values.items() if value not in (None, [])}
            for name in given:
                if _is_mapping(offered[name]):
                    given[name] = _mapping(name, given[name])
            function(options=kind.read(given, where=where), **others)

        signature = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *parameters]]
        run_verb.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        run_verb.__annotations__ = {p.name: p.annotation for p in signature}
        run_verb.__doc__ = function.__doc__
        within.command(verb, epilog=f"Example: {example}")(run_verb)
        return function

    return register


def _parameter(option: Option, *, named: bool) -> inspect.Parameter:
    """An option for typer, of which None says that it was not given: defaults are the options' own business."""
    kind: Any = list[str] if _is_mapping(option) else option.field.annotation
    if not named:
        argument = typer.Argument(help=option.help)
        return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, argument])
    flag = f"--{option.name.replace('_', '-')}"
    if kind is bool:
        flag = f"{flag}/--no-{option.name.replace('_', '-')}"
    found = typer.Option(flag, help=f"{option.help}{_default(option)}", show_default=False)
    default = inspect.Parameter.empty if option.required else None
    kind = kind if option.required else kind | None
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, found]
    )


def _default(option: Option) -> str:
    """As typer would show it."""
    if option.default in (None, "", [], {}) or option.default is False:
        return ""
    shown = ", ".join(map(str, option.default)) if isinstance(option.default, list) else option.default
    return f"  [default: {shown}]"


def _is_mapping(option: Option) -> bool:
    """Whether the option is KEY=VALUE, again and again."""
    return get_origin(option.field.annotation) is dict


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
