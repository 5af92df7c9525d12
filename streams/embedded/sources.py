"""The sources of `twin up`: the configured ones; this machine when there are none; the demo on request."""

from pathlib import Path
from typing import Any

import yaml

from streams.collect.config import load_config
from streams.settings import Settings

CONFIG_FILE = "collect.yaml"
"""In the data folder: what the collector reads in place of the user's own file."""

PATHS = ("ca_file", "bearer_token_file")
"""Of a source; relative ones count from the folder of the file that names them."""


def collect_variables(settings: Settings, data: Path, *, demo: bool) -> dict[str, str]:
    """TWIN_* variables of the collector alone; writes the file that they name, if there is one.

    Raises:
        SettingsError: the configured sources have faults.
    """
    kinds = [source.kind for source in load_config(settings.config).sources]
    more = []
    if not kinds and not settings.prometheus_urls.strip(" ,"):
        more.append("host")
    if demo and "demo" not in kinds:
        more.append("demo")
    if not more:
        return {}
    content = _content_of(settings.config)
    content["sources"] = [*(content.get("sources") or []), *({"kind": kind} for kind in more)]
    path = data / CONFIG_FILE
    path.touch(mode=0o600)  # the user's file may hold secrets
    path.write_text("# Written by `twin up`.\n" + yaml.safe_dump(content, allow_unicode=True))
    return {"TWIN_CONFIG": str(path)}


def _content_of(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    content: dict[str, Any] = yaml.safe_load(config.read_text()) or {}
    folder = config.absolute().parent
    for source in content.get("sources") or []:
        source.update({name: str(folder / source[name]) for name in PATHS if source.get(name)})
    if content.get("rule_packs"):
        content["rule_packs"] = [str(folder / pack) for pack in content["rule_packs"]]
    return content
