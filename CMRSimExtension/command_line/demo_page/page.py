"""Puts sections together into one HTML file that needs nothing beside it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes
    ----------
    title
        Heading; also its link.
    html
        Body.
    lead
        One sentence below the heading.
    data
        What the page's script needs, by name; JSON-able. The names are shared by all sections.
    """

    title: str
    html: str
    lead: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def anchor(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


def build_page(title: str, subtitle: str, sections: Sequence[Section], footer: str) -> str:
    """The whole page; style and script are inlined, pictures come as data URIs from the sections.

    Parameters
    ----------
    title, subtitle
        Head of the page, plain text.
    sections
        In the order shown.
    footer
        Plain text at the end.
    """
    home = files("CMRSimExtension.command_line.demo_page")
    data: dict[str, Any] = {}
    for section in sections:
        data |= section.data
    links = "".join(f'<a href="#{s.anchor}">{escape(s.title)}</a>' for s in sections)
    body = "".join(
        f'<section id="{s.anchor}"><h2>{escape(s.title)}</h2>'
        + (f'<p class="lead">{escape(s.lead)}</p>' if s.lead else "")
        + s.html + "</section>"
        for s in sections
    )
    # "</" inside the JSON would end the script element early.
    script_data = json.dumps(data).replace("</", "<\\/")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>'
        f"<style>{(home / 'page.css').read_text(encoding='utf-8')}</style></head><body>"
        f"<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p><nav>{links}</nav></header>"
        f"<main>{body}</main><footer>{escape(footer)}</footer>"
        f"<script>const DATA = {script_data};\n{(home / 'page.js').read_text(encoding='utf-8')}</script>"
        "</body></html>\n"
    )
