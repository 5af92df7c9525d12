"""KairosDB with its H2 datastore, from Maven's jars."""

from ..cache import cached
from ..health import answers
from ..layout import CACHE, ROOT, STACK, data_folder, write_private
from ..remembered import HOST, Remembered
from ..service import Service
from ..tools import path_of, run_step

VERSION = "1.3.0-1"
NAME = f"kairosdb-{VERSION}"
FOLDER = ROOT / "conf" / "kairosdb"
"""Of its own: it reads every `.conf` and `.properties` file beside the one that it is given."""

TEMPLATE = """\
kairosdb: {{
  telnetserver: {{address: "{host}", port: {telnet}}}
  jetty: {{address: "{host}", port: {http}}}
  service.datastore: "org.kairosdb.datastore.h2.H2Module"
  datastore.h2.database_path: "{data}"
}}
"""
"""HOCON (https://kairosdb.github.io/docs/build/html/GettingStarted.html)."""

OPENED = ("java.base/java.lang=ALL-UNNAMED", "java.base/java.util=ALL-UNNAMED")
"""What it reaches into by reflection: without them it does not start, or answers 500 to group_by."""


def _tools() -> set[str]:
    return {"java"} | (set() if (CACHE / NAME).is_dir() else {"mvn"})


def _build() -> object:
    def fetch(folder: object) -> None:
        pom = STACK / "kairosdb" / "pom.xml"
        copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
        run_step(
            "install-kairosdb", [path_of("mvn"), "-q", "-B", "-Dstyle.color=never", "-f", str(pom), *copy]
        )

    return cached(NAME, fetch)


def _prepare(remembered: Remembered) -> None:
    FOLDER.mkdir(exist_ok=True)
    write_private(
        FOLDER / "kairosdb.conf",
        TEMPLATE.format(
            host=HOST,
            telnet=remembered.ports["kairosdb_telnet"],
            http=remembered.ports["kairosdb"],
            data=data_folder("kairosdb"),
        ),
    )


def _command(_remembered: Remembered) -> list[str]:
    opened = [argument for package in OPENED for argument in ("--add-opens", package)]
    return [
        path_of("java"),
        *opened,
        "-Xmx256m",
        # It is started more often than it is busy.
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        f"-Dlogback.configurationFile={STACK / 'kairosdb' / 'logback.xml'}",
        "-cp",
        f"{_build()}/*",
        "org.kairosdb.core.Main",
        "-c",
        "run",
        "-p",
        str(FOLDER / "kairosdb.conf"),
    ]


KAIROSDB = Service(
    name="kairosdb",
    port_names=("kairosdb", "kairosdb_telnet"),
    tools=_tools,
    build=_build,
    prepare=_prepare,
    command=_command,
    is_healthy=lambda remembered: answers(remembered.url("kairosdb") + "/api/v1/version"),
    facts=lambda remembered: {"url": remembered.url("kairosdb"), "port": remembered.ports["kairosdb"]},
)
