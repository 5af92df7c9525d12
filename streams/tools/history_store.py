"""The history store, opened in the process of a command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streams.collect.config import load_config
from streams.rulebook import load_rulebook
from streams.settings import Settings
from streams.stores import Store, open_store


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The store of the settings, closed at the end; that of a running `twin up` when the settings name none.

    Raises:
        SettingsError: no store is named, or its URL cannot be used.
    """
    catalogue = load_rulebook(load_config(settings.config).rule_packs).catalogue
    store = open_store(
        settings, {name: (metric.measurement, metric.field) for name, metric in catalogue.items()}
    )
    try:
        yield store
    finally:
        await store.close()
