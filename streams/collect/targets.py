"""The targets that follow from the configuration and from TWIN_PROMETHEUS_URLS."""

from collections.abc import Iterator, Mapping

from streams.collect.config import CollectConfig, HttpSourceConfig, PrometheusConfig, SourceConfig, check_url
from streams.collect.host import host_name
from streams.collect.privacy import public_url
from streams.collect.target import Caps, Target, default_timeout_s
from streams.domain.rules import RulePack
from streams.errors import SettingsError
from streams.settings import Settings


def load_targets(config: CollectConfig, packs: Mapping[str, RulePack], settings: Settings) -> list[Target]:
    """All targets of the configuration and of TWIN_PROMETHEUS_URLS, of all collectors.

    Raises:
        SettingsError: naming every unknown pack, and every target that is there twice.
    """
    faults: list[str] = []
    targets: dict[str, Target] = {}
    places: dict[str, str] = {}
    for place, source in _sources(config, settings, faults):
        for pack_name in source.pack_names:
            optional = isinstance(source, PrometheusConfig) and not source.pack and not source.packs
            pack = packs.get(pack_name)
            if pack is None:
                if not optional:
                    faults.append(
                        f"{place}: unknown rule pack {pack_name!r}; known: {', '.join(sorted(packs))}"
                    )
                continue
            if source.kind == "prometheus" and not pack.queries:
                faults.append(f"{place}: rule pack {pack_name} has no queries for a prometheus source")
            if source.kind in ("json", "demo") and pack.document is None:
                faults.append(
                    f"{place}: rule pack {pack_name} has no document section for a {source.kind} source"
                )
            for target in _targets_of(source, pack, settings, optional=optional):
                if target.interval_s and target.timeout_s > target.interval_s:
                    faults.append(
                        f"{place}: timeout_s is longer than the interval of {target.interval_s:g} s"
                    )
                if target.key in targets:
                    faults.append(
                        f"{place}: {target.key} is there twice, see {places[target.key]}: give one a name"
                    )
                targets[target.key] = target
                places[target.key] = place
    if faults:
        raise SettingsError(faults)
    return list(targets.values())


def _sources(
    config: CollectConfig, settings: Settings, faults: list[str]
) -> Iterator[tuple[str, SourceConfig]]:
    for number, source in enumerate(config.sources):
        yield f"sources[{number}]", source
    urls = [url.strip() for url in settings.prometheus_urls.split(",") if url.strip()]
    for url in urls:
        try:
            yield "TWIN_PROMETHEUS_URLS", PrometheusConfig(kind="prometheus", url=check_url(url))
        except ValueError as error:
            faults.append(f"TWIN_PROMETHEUS_URLS: {error}")


def _targets_of(
    source: SourceConfig, pack: RulePack, settings: Settings, *, optional: bool
) -> Iterator[Target]:
    interval_s = settings.scrape_interval_s if source.interval_s is None else source.interval_s
    timeout_s = source.timeout_s or default_timeout_s(interval_s)
    caps = Caps(**source.caps.model_dump())
    name = source.name or pack.name
    if not isinstance(source, HttpSourceConfig):
        simulated = source.kind == "demo"
        own = "testbed" if simulated else host_name()
        yield Target(source.kind, name, own, pack, interval_s, timeout_s, caps=caps, simulated=simulated)
        return
    for url in source.urls or [source.url or ""]:
        yield Target(
            kind=source.kind,
            source=name,
            name=public_url(url),
            pack=pack,
            interval_s=interval_s,
            timeout_s=timeout_s,
            url=url,
            headers=source.headers,
            bearer_token_file=source.bearer_token_file,
            ca_file=source.ca_file,
            caps=caps,
            simulated=source.simulated,
            optional=optional,
        )
