"""Which sources `twin up` gives its collector."""

from pathlib import Path

import pytest

from streams.collect.config import load_config
from streams.embedded.sources import collect_variables
from streams.errors import SettingsError
from streams.settings import Settings, load_settings


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TWIN_CONFIG", "TWIN_PROMETHEUS_URLS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def _kinds(settings: Settings, data: Path, *, demo: bool) -> list[str]:
    variables = collect_variables(settings, data, demo=demo)
    config = Path(variables["TWIN_CONFIG"]) if variables else settings.config
    return [source.kind for source in load_config(config).sources]


def test_without_any_source_it_is_this_machine(data: Path) -> None:
    assert _kinds(load_settings(), data, demo=False) == ["host"]
    assert _kinds(load_settings(), data, demo=True) == ["host", "demo"]


def test_prometheus_takes_the_place_of_this_machine(data: Path) -> None:
    settings = load_settings(prometheus_urls="http://p:9090")

    assert _kinds(settings, data, demo=False) == []
    assert _kinds(settings, data, demo=True) == ["demo"]


def test_demo_joins_configured_sources_with_their_files(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "twin.yaml"
    config.write_text(
        "keys: {a: b}\nrule_packs: [mine.yaml]\n"
        "sources: [{kind: exposition, pack: power, url: 'https://a/metrics', ca_file: ca.pem}]\n"
    )

    variables = collect_variables(load_settings(config=config), data, demo=True)

    written = load_config(Path(variables["TWIN_CONFIG"]))
    assert [source.kind for source in written.sources] == ["exposition", "demo"]
    assert written.rule_packs == [tmp_path / "mine.yaml"]
    assert getattr(written.sources[0], "ca_file", None) == tmp_path / "ca.pem"
    assert Path(variables["TWIN_CONFIG"]).stat().st_mode & 0o077 == 0


def test_own_file_is_left_alone_when_it_says_all(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "twin.yaml"
    config.write_text("sources: [{kind: demo}]\n")

    assert collect_variables(load_settings(config=config), data, demo=True) == {}


def test_file_without_sources_still_gets_this_machine(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "twin.yaml"
    config.write_text("other: 1\n")

    assert _kinds(load_settings(config=config), data, demo=False) == ["host"]


def test_faults_are_told_before_anything_starts(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "twin.yaml"
    config.write_text("sources: [{kind: nonsense}]\n")

    with pytest.raises(SettingsError, match=r"twin\.yaml"):
        collect_variables(load_settings(config=config), data, demo=True)
