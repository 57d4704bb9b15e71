"""Pages as files: templates become HTML, and a page replaces only an earlier one of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from seqdistill import __version__
from seqdistill.errors import UserError
from seqdistill.files import write_text

FOLDER = Path(__file__).parent
GENERATOR, _HEAD = b'<meta name="generator" content="seqdistill ', 1000
"""What every page of ours has within so many bytes."""


def rendered(template: str, **content: Any) -> str:
    """A template of this folder that extends `layout.html`, as HTML.

    Args:
        content: `page` with `title` and `intro`, `sections`, and what the template itself needs.
    """
    loader = FileSystemLoader(FOLDER)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    css = Markup((FOLDER / "page.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(version=__version__, css=css, **content)


def write_html(path: Path, html: str) -> None:
    """Writes a page, over an earlier one of ours if need be.

    Raises:
        UserError: there is something else under this name.
    """
    if path.exists() and not (path.is_file() and GENERATOR in path.open("rb").read(_HEAD)):
        raise UserError(
            f"{path}: is there, and no page that seqdistill wrote: give another name for the page, or move it"
        )
    write_text(path, html)
