"""Options of the page."""

from __future__ import annotations

from pydantic import Field

from seqdistill.options.base import Options


class ReportOptions(Options):
    """One HTML page about the stages in a directory."""

    title: str = Field(default="Distillation report", description="Heading of the page.")
    intro: str = Field(default="", description="A paragraph under the heading.")
