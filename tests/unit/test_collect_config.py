"""The configuration of sources, and the targets that follow."""

from pathlib import Path

import pytest

from streams.collect.config import PROMETHEUS_PACKS, load_config
from streams.collect.privacy import public_url, redact
from streams.collect.run import our_targets
from streams.collect.target import Target
from streams.collect.targets import load_targets
from streams.domain.documents import DocumentMapping
from streams.domain.rules import Query, RulePack
from streams.errors import SettingsError
from streams.rulebook import RuleBook, load_rulebook
from streams.settings import load_settings

QUERIES = (Query("a", "a"),)
DOCUMENT = DocumentMapping({}, ())
PACKS = {name: RulePack(name, 50, queries=QUERIES) for name in (*PROMETHEUS_PACKS, "host")} | {
    "decice_v2": RulePack("decice_v2", 50, document=DOCUMENT)
}


def write(folder: Path, text: str) -> Path:
    path = folder / "twin.yaml"
    path.write_text(text)
    return path


def targets_of(folder: Path, text: str, **variables: object) -> list[Target]:
    return load_targets(load_config(write(folder, text)), PACKS, load_settings(**variables))


def faults_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_config(write(folder, text))
    return [fault.replace(str(folder) + "/", "") for fault in caught.value.faults]


def test_no_file_is_no_source() -> None:
    assert load_config(None).sources == []


def test_every_kind_becomes_targets(tmp_path: Path) -> None:
    targets = targets_of(
        tmp_path,
        """
sources:
  - {kind: prometheus, urls: [http://p1:9090, http://p2:9090], packs: [node_exporter, slurm], interval_s: 15}
  - {kind: exposition, url: http://n1:9100/metrics, pack: node_exporter, name: direct}
  - {kind: json, url: https://vte/api/twin, pack: decice_v2, name: vte, simulated: true, interval_s: 1}
  - {kind: host}
  - {kind: demo}
""",
    )

    assert [(target.kind, target.source, target.interval_s, target.timeout_s) for target in targets] == [
        ("prometheus", "node_exporter", 15.0, 2.0),
        ("prometheus", "node_exporter", 15.0, 2.0),
        ("prometheus", "slurm", 15.0, 2.0),
        ("prometheus", "slurm", 15.0, 2.0),
        ("exposition", "direct", 5.0, 2.0),
        ("json", "vte", 1.0, 0.5),
        ("host", "host", 5.0, 2.0),
        ("demo", "demo", 5.0, 2.0),
    ]
    assert [target.simulated for target in targets] == [False] * 5 + [True, False, True]
    assert len({target.key for target in targets}) == 8
    assert not any(target.optional for target in targets)


def test_prometheus_urls_need_no_file(tmp_path: Path) -> None:
    targets = targets_of(tmp_path, "", prometheus_urls="http://p1:9090, http://p2:9090", scrape_interval_s=0)

    assert [target.source for target in targets] == [*PROMETHEUS_PACKS, *PROMETHEUS_PACKS]
    assert {target.name for target in targets} == {"http://p1:9090", "http://p2:9090"}
    assert all(target.optional and target.interval_s == 0 and target.timeout_s == 2.0 for target in targets)


def test_all_faults_are_named_at_once_by_their_place(tmp_path: Path) -> None:
    faults = faults_of(
        tmp_path,
        """
sources:
  - {kind: promethius, url: http://p}
  - {kind: prometheus, url: "ftp://user:geheim@p"}
  - {kind: prometheus, urls: [http://p, nonsense], interval_s: -1}
  - {kind: exposition, url: http://n/metrics}
  - {kind: prometheus}
  - {kind: prometheus, url: http://p, urls: [http://q]}
  - {kind: host, interval: 5}
  - {kind: host, caps: {samples: 0}}
  - {kind: prometheus, url: http://p, packs: [a, b], name: mine}
  - {kind: prometheus, url: http://p, interval_s: 1, timeout_s: 2}
  - {kind: json, url: http://p, pack: x, headers: {"X Key": geheim}}
  - {kind: json, url: http://p, pack: x, headers: {"X-Key": "geheim\\r\\nX: y"}}
  - prometheus
rule_packs: 5
source: []
""",
    )

    assert [fault.partition(": ")[2].partition(": ")[0] for fault in faults] == [
        "unknown section 'source'",
        "sources[0]",
        "sources[1].url",
        "sources[2].interval_s",
        "sources[2].urls[1]",
        "sources[3]",
        "sources[4]",
        "sources[5]",
        "sources[6].interval",
        "sources[7].caps.samples",
        "sources[8]",
        "sources[9]",
        "sources[10].headers",
        "sources[11].headers",
        "sources[12]",
        "rule_packs",
    ], faults
    assert all(fault.startswith("twin.yaml: ") for fault in faults)
    assert "geheim" not in "\n".join(faults)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sources: [", "twin.yaml:1: not YAML"),
        ("a: b\nsources: {kind: host}\n- x", "twin.yaml:3: not YAML"),
        ("- a\n- b", "twin.yaml: must be sections such as `sources:`, not a list"),
        ("sources: {kind: host}", "twin.yaml: sources: Input should be a valid list"),
        ("!!python/object/apply:os.system [ls]", "not YAML: could not determine a constructor"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, said: str) -> None:
    assert said in "\n".join(faults_of(tmp_path, text))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(SettingsError, match=r"TWIN_CONFIG: nowhere\.yaml cannot be read: No such file"):
        load_config(Path("nowhere.yaml"))


def test_sections_of_other_roles_are_left_to_them(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "api_keys: [{name: a}]\n")).sources == []


def test_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    config = load_config(
        write(
            tmp_path,
            "rule_packs: [packs]\n"
            "sources: [{kind: json, url: http://a, pack: x, ca_file: ca.pem, bearer_token_file: /etc/token}]",
        )
    )

    assert config.rule_packs == [tmp_path / "packs"]
    assert config.sources[0].ca_file == tmp_path / "ca.pem"  # type: ignore[union-attr]
    assert config.sources[0].bearer_token_file == Path("/etc/token")  # type: ignore[union-attr]


def test_faults_that_only_the_rule_packs_show(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        targets_of(
            tmp_path,
            """
sources:
  - {kind: exposition, url: http://n/metrics, pack: node_exporte}
  - {kind: prometheus, url: http://p, pack: decice_v2}
  - {kind: json, url: http://q, pack: slurm}
  - {kind: exposition, url: "http://n/metrics?token=a", pack: power}
  - {kind: exposition, url: "http://n/metrics?token=b", pack: power}
  - {kind: host, timeout_s: 60}
""",
            prometheus_urls="http://p, p2:9090",
        )

    faults = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 6
    assert "sources[0]: unknown rule pack 'node_exporte'; known: dcgm, decice" in faults
    assert "sources[1]: rule pack decice_v2 has no queries" in faults
    assert "sources[2]: rule pack slurm has no document section" in faults
    assert "sources[4]: power/http://n/metrics?token=*** is there twice, see sources[3]" in faults
    assert "sources[5]: timeout_s is longer than the interval of 5 s" in faults
    assert "TWIN_PROMETHEUS_URLS: must be a URL that begins with http:// or https://" in faults


def test_the_packs_of_prometheus_urls_are_all_there() -> None:
    packs = load_rulebook().packs

    assert all(packs[name].queries for name in PROMETHEUS_PACKS)
    assert packs["decice_v2"].document


def test_nothing_to_scrape_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing to scrape: set TWIN_PROMETHEUS_URLS"):
        our_targets(load_settings(config=write(tmp_path, "")), RuleBook(None, PACKS))  # type: ignore[arg-type]


def test_collectors_share_the_targets(tmp_path: Path) -> None:
    urls = ",".join(f"http://p{number}:9090" for number in range(20))
    shares = [
        our_targets(load_settings(prometheus_urls=urls, shard=f"{number}/3"), RuleBook(None, PACKS))  # type: ignore[arg-type]
        for number in (1, 2, 3)
    ]

    keys = [target.key for share in shares for target in share]
    assert len(keys) == len(set(keys)) == 20 * len(PROMETHEUS_PACKS)
    assert all(shares)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://p:9090", "http://p:9090"),
        ("http://user:geheim@p:9090/x", "http://p:9090/x"),
        ("http://geheim@p/x?cluster=a&api_key=geheim#geheim", "http://p/x?cluster=a&api_key=***"),
        (
            "https://p/?X-Amz-Signature=geheim&access_token=geheim",
            "https://p/?X-Amz-Signature=***&access_token=***",
        ),
    ],
)
def test_names_of_targets_are_free_of_secrets(url: str, shown: str) -> None:
    assert public_url(url) == shown


def test_errors_are_free_of_secrets_and_line_breaks(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("geheim3\n")
    (target,) = targets_of(
        tmp_path,
        f"""
sources:
  - kind: json
    url: "http://user:geheim1@p/x?token=geheim2"
    pack: decice_v2
    headers: {{X-Key: geheim4}}
    bearer_token_file: {token}
""",
    )

    shown = redact("a geheim1\nb geheim2 \x1b[31m geheim3 geheim4 dXNlcjpnZWhlaW0x", target)

    assert "geheim" not in shown
    assert "dXNlcjpnZWhlaW0x" not in shown
    assert shown == "a *** b *** [31m *** *** ***"


def test_no_source_has_the_name_of_the_twin(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, "sources: [{kind: host, name: twin}]")

    assert "is the twin itself" in faults[0]
