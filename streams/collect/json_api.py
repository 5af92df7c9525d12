"""Source `json`: any HTTP API that answers a JSON document, such as a virtual training environment's."""

import json
from typing import Any

from jsonschema.protocols import Validator

from streams.collect.exposition import LARGE_BODY, decode
from streams.collect.fetch import Answer, Fetcher
from streams.collect.target import Harvest, Target
from streams.collect.threads import in_thread
from streams.domain.documents import DocumentMapping, extract
from streams.errors import SourceError
from streams.rulebook.validate import document_faults, schema_validator


class JsonSource:
    """One URL that answers a document which the pack's `document` section maps."""

    def __init__(self, target: Target, fetcher: Fetcher) -> None:
        self.target = target
        self._fetcher = fetcher
        self._mapping = mapping_of(target)
        self._validator = validator_of(self._mapping)

    async def collect(self) -> Harvest:
        """Scrape once; SourceError when the answer is not JSON, or not of the schema."""
        answer = await self._fetcher.fetch(self.target, accept="application/json")
        if len(answer.body) < LARGE_BODY:
            return self._read(answer)
        return await in_thread(lambda: self._read(answer))

    def _read(self, answer: Answer) -> Harvest:
        content_type = answer.content_type.partition(";")[0].strip().lower()
        if content_type.startswith(("text/html", "image/", "audio/", "video/")):
            raise SourceError("content_type", f"content type {content_type!r} is not JSON")
        text = decode(answer.body)
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise SourceError("parse", f"not JSON: {why}: {text[:80]!r}") from None
        harvest = read_document(document, self._mapping, self._validator)
        harvest.scraped_s = answer.received_s
        return harvest


def mapping_of(target: Target) -> DocumentMapping:
    """How the target's pack maps a document; the configuration is refused when it does not."""
    if target.pack.document is None:
        raise SourceError("pack", f"rule pack {target.pack.name} has no `document` section")
    return target.pack.document


def validator_of(mapping: DocumentMapping) -> Validator:
    """Checks documents against the mapping's JSON Schema, of the draft that this names."""
    return schema_validator(mapping.schema)


def read_document(document: Any, mapping: DocumentMapping, validator: Validator) -> Harvest:
    """The series of a document.

    Raises:
        SourceError: it does not satisfy the schema; the text names the places.
    """
    faults = document_faults(document, validator)
    if faults:
        raise SourceError("schema", "the document is not of its JSON Schema: " + "; ".join(faults))
    series, values, times_ms, dropped = extract(document, mapping)
    return Harvest(series, values, times_ms or [0] * len(series), dropped)
