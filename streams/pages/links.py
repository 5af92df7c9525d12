"""Paths of pages, and pieces of HTML that lead there; all text is escaped."""

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from streams.pages.shell import View


def entity_path(kind: str, id: str) -> str:
    """Path of the page of an entity."""
    return f"/entity/{quote(kind, safe='')}/{quote(id, safe='~')}"


def entity_link(view: "View", kind: str, id: str, text: str | None = None) -> str:
    """A link to the page of an entity, in the world and at the moment that are looked at."""
    href = escape(view.href(entity_path(kind, id)))
    return f'<a class="twin-link-plain" href="{href}">{escape(text or id)}</a>'


def badge(text: str, style: str) -> str:
    """A small label whose class colours it."""
    return f'<span class="twin-badge {escape(style)}">{escape(text)}</span>'
