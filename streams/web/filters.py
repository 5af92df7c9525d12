"""Which entities of a world are wanted: by kind, id, filter terms and free text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from streams.domain.where import InvalidWhereError, Where, parse_where
from streams.web.problems import invalid

ALL = ("*",)
"""Patterns of kinds that leave nothing out."""


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must match; equal ones are the same filter.

    `seen` are patterns of the kinds that whoever asks may see.
    """

    kinds: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    where: str = ""
    q: str = ""
    seen: tuple[str, ...] = ALL
    terms: Where = field(default=Where(), compare=False)
    needle: str = field(default="", compare=False)

    @property
    def reads(self) -> bool:
        """Whether kind and id alone do not tell."""
        return bool(self.terms.terms or self.needle)

    def may_be(self, kind: str, id: str) -> bool:
        """Whether an entity of this kind and id can match."""
        if (self.kinds and kind not in self.kinds) or (self.ids and id not in self.ids):
            return False
        return self.seen is ALL or any(fnmatchcase(kind, pattern) for pattern in self.seen)

    def matches(self, view: Mapping[str, Any], text: str | None = None) -> bool:
        """Whether the view of an entity that can match does.

        Args:
            view: the entity record.
            text: its `free_text`, if that is known.
        """
        if self.needle and self.needle not in (free_text(view) if text is None else text):
            return False
        return self.terms.matches(view)


def make_filter(
    kinds: list[str], ids: list[str], where: str, q: str = "", seen: tuple[str, ...] = ALL
) -> Filter:
    """A filter of what a request says.

    Raises:
        ProblemError: 422, naming the term of `where` that is wrong.
    """
    try:
        terms = parse_where(where)
    except InvalidWhereError as error:
        raise invalid("where", str(error), term=error.term) from error
    return Filter(
        frozenset(kinds),
        frozenset(ids),
        where.strip(),
        q.strip(),
        ALL if "*" in seen else seen,
        terms,
        q.strip().casefold(),
    )


def free_text(view: Mapping[str, Any]) -> str:
    """What free text is looked for in: id, kind, status, values of attributes, faults; folded."""
    parts = (view["id"], view["kind"], view["status"], *view["attributes"].values(), *view["faults"])
    return "\n".join(parts).casefold()
