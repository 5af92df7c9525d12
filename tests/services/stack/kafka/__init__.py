"""Apache Kafka 4.0 as one KRaft node from Maven's jars: a plain listener, and one with TLS and a password."""

import base64
import shutil
import uuid
from pathlib import Path
from typing import Any

from ..cache import cached
from ..layout import CACHE, ROOT, STACK, data_folder, write_private
from ..remembered import HOST, Remembered
from ..service import Service
from ..tools import path_of, run_step
from .certificates import CA_FILE, KEY_STORE, make_certificates
from .metadata import has_live_broker

VERSION = "4.0.0"
NAME = f"kafka-{VERSION}"
USER = "twin"
PROPERTIES = ROOT / "conf" / "kafka.properties"

TEMPLATE = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{plain},SASL_SSL://{sasl_ssl},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{plain},SASL_SSL://{sasl_ssl}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}

# A forgotten topic must be an error.
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# The defaults, 50 each, cost seconds at the first use of a group or a transaction.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4

# A restarted broker is refused until the session of its last life ends; the default of 9 s makes that 14 s.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# A test can't wait for minutes: groups form at once, and retention and compaction are seen within seconds.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.backoff.ms=1000
log.initial.task.delay.ms=1000
log.retention.check.interval.ms=10000

listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=\\
  org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\\
  org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location={key_store}
"""
"""server.properties (https://kafka.apache.org/40/documentation.html#brokerconfigs)."""


def _tools() -> set[str]:
    return {"java", "openssl"} | (set() if (CACHE / NAME).is_dir() else {"mvn"})


def _build() -> Path:
    return cached(NAME, _fetch_jars)


def _fetch_jars(folder: Path) -> None:
    pom = STACK / "kafka" / "pom.xml"
    copy = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    run_step("install-kafka", [path_of("mvn"), "-q", "-B", "-Dstyle.color=never", "-f", str(pom), *copy])


def _prepare(remembered: Remembered) -> None:
    make_certificates()
    text = TEMPLATE.format(
        plain=remembered.address("kafka"),
        sasl_ssl=remembered.address("kafka_sasl_ssl"),
        controller=remembered.address("kafka_controller"),
        data=data_folder("kafka"),
        user=USER,
        password=remembered.kafka_password,
        key_store=KEY_STORE,
    )
    write_private(PROPERTIES, text)
    if not (data_folder("kafka") / "meta.properties").exists():
        _format(remembered)


def _format(remembered: Remembered) -> None:
    """Write the first metadata, among them the SCRAM user.

    The arguments go in a file that java reads: every user could see the password on a command line.
    """
    shutil.rmtree(data_folder("kafka"), ignore_errors=True)
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22]
    arguments = ROOT / "conf" / "kafka-format.arguments"
    write_private(
        arguments,
        f'-cp "{_build()}/*"\nkafka.tools.StorageTool format --cluster-id={cluster_id} -c "{PROPERTIES}"\n'
        f'--add-scram "SCRAM-SHA-512=[name={USER},password={remembered.kafka_password}]"\n',
    )
    try:
        run_step("install-kafka", [path_of("java"), f"@{arguments}"])
    finally:
        arguments.unlink()


def _command(_remembered: Remembered) -> list[str]:
    log4j = STACK / "kafka" / "log4j2.properties"
    return [
        path_of("java"),
        "-Xmx768m",
        f"-Dlog4j2.configurationFile={log4j}",
        "-cp",
        f"{_build()}/*",
        "kafka.Kafka",
        str(PROPERTIES),
    ]


def _facts(remembered: Remembered) -> dict[str, Any]:
    return {
        "bootstrap_servers": remembered.address("kafka"),
        "port": remembered.ports["kafka"],
        "sasl_ssl": {
            "bootstrap_servers": remembered.address("kafka_sasl_ssl"),
            "port": remembered.ports["kafka_sasl_ssl"],
            "mechanisms": ["PLAIN", "SCRAM-SHA-512"],
            "username": USER,
            "password": remembered.kafka_password,
            "ca_file": str(CA_FILE),
        },
    }


KAFKA = Service(
    name="kafka",
    port_names=("kafka", "kafka_sasl_ssl", "kafka_controller"),
    tools=_tools,
    build=_build,
    prepare=_prepare,
    command=_command,
    is_healthy=lambda remembered: has_live_broker(HOST, remembered.ports["kafka"]),
    facts=_facts,
)
