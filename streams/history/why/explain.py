"""Why an entity shows a value: now, or as of a moment."""

from collections.abc import Mapping

from streams.domain.catalogue import Catalogue
from streams.domain.rules import RulePack
from streams.domain.why.text import number
from streams.history.why.answer import Known, Why
from streams.history.why.log import Subject, source_of
from streams.history.why.look import LogLook
from streams.history.why.now import explain_newest
from streams.history.why.then import explain_tick
from streams.settings import Settings

SOURCES_MAX = 3
"""[1] Samples of which the scrape is looked up: the neighbours, and what lies between."""


async def explain(
    settings: Settings,
    catalogue: Catalogue,
    packs: Mapping[str, RulePack],
    subject: Subject,
    at_ms: int | None,
    known: Known,
) -> Why:
    """Why the entity shows this value of the metric, now or as of a moment.

    Args:
        at_ms: [ms since the epoch] the moment; None: the newest value.

    Raises:
        TwinError: Kafka does not answer.
        StoreError: history is away, and it is needed.
    """
    why = Why(subject, catalogue[subject.metric].unit, at_ms)
    async with LogLook(settings) as log:
        if at_ms is None:
            await explain_newest(log, catalogue, known, why)
        else:
            await explain_tick(log, settings, catalogue, known, why, at_ms)
        for sample in why.samples[-SOURCES_MAX:]:
            why.origins.append(await source_of(log, packs, catalogue, subject, sample))
    why.missing += dict.fromkeys(origin.gone for origin in why.origins if origin and origin.gone)
    _compare(why)
    return why


def _compare(why: Why) -> None:
    """Say where what was found does not explain what is shown."""
    if not why.samples:
        return
    sample, newest = why.samples[-1], why.origins[-1]
    if newest is not None and newest.mapped is not None and newest.mapped.value != sample.value:
        why.missing.append(
            f"today's rules make {number(newest.mapped.value)} of it, but the sample is"
            f" {number(sample.value)}: the rules changed since"
        )
    explained = why.steps[-1].after if why.steps else why.base
    if explained != why.value:
        was = "nothing" if explained is None else number(explained, why.unit)
        why.missing.append(
            f"what is found explains {was}, but the value is {number(why.value, why.unit)}: a fault that has"
            " ended since, or a message that the log does not have any more"
        )
