"""A verb's options as options of the command line: every field one option, its description the help."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args, get_origin

import typer

from seqdistill.errors import UserError
from seqdistill.options import Option, Options

S = TypeVar("S", bound=Options)


def with_options(function: Callable[..., None], kind: type[Options]) -> Callable[..., None]:
    """Lets typer see the options of `kind` as parameters of `function(own..., **options)`, which `read` then reads."""
    own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.kind != p.VAR_KEYWORD]
    offered = kind.offered()
    taken = [_parameter(option, named=name not in kind.arguments) for name, option in offered.items()]
    signature = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *taken]]
    function.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in signature}
    return function


def read(kind: type[S], values: dict[str, Any], *, verb: str) -> S:
    """The options of a verb from what typer found; None and [] were not given.

    Raises:
        UserError: as `Options.read`; a KEY=VALUE without one of the two.
    """
    given = {name: value for name, value in values.items() if value not in (None, [])}
    offered = kind.offered()
    for name in given:
        if _is_mapping(offered[name]):
            given[name] = _mapping(name, given[name])
    return kind.read(given, where=f"seqdistill {verb}")


def _parameter(option: Option, *, named: bool) -> inspect.Parameter:
    """An option for typer, of which None says that it was not given: defaults are the options' own business."""
    kind: Any = list[str] if _is_mapping(option) else _without_ranges(option.field.annotation)
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


def _without_ranges(annotation: Any) -> Any:
    """`list[float]` of a list of numbers with a range: typer knows no other lists, and the options check ranges."""
    if get_origin(annotation) is not list:
        return annotation
    (part,) = get_args(annotation)
    return list[get_args(part)[0]] if get_origin(part) is Annotated else annotation


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
    except (ValueError, RecursionError):  # no JSON, or a number of thousands of digits, or brackets as deep
        return value
