"""What InfluxDB needs before the first line: a bucket, a bucket at 5 minutes, and the task that fills it."""

import json
from typing import Any

import structlog
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.domain.task_create_request import TaskCreateRequest
from influxdb_client.domain.task_update_request import TaskUpdateRequest
from influxdb_client.rest import ApiException

from streams.domain.sink import ENTITY_STATE, TICK_QUALITY
from streams.settings import Settings

DAY_S = 86_400
"""[s]"""

COARSE_MS = 300_000
"""[ms] Distance of the values in the bucket beside the bucket."""

MIN_RETENTION_S = 3_600
"""[s] InfluxDB refuses a shorter one."""

REFUSED = (401, 403)
"""HTTP status of a token that may not do this."""

log = structlog.get_logger()


class SetUp:
    """Makes what is missing, once for all sinks that do it at the same time."""

    def __init__(self, client: InfluxDBClient, org: str, settings: Settings) -> None:
        self._client = client
        self._org = org
        self._settings = settings

    def run(self, bucket: str) -> None:
        """Make buckets and task; a token that may not do so is no reason to stop: others may have made them.

        Raises:
            ApiException: InfluxDB answered with an error that has nothing to do with rights.
        """
        coarse = coarse_of(bucket)
        self._have_bucket(bucket, self._settings.history_retention_d, "Closed ticks of the twin.")
        self._have_bucket(
            coarse,
            self._settings.history_downsampled_retention_d,
            f"Bucket {bucket} at 5 minutes; filled by a task.",
        )
        self._have_task(f"twin: {bucket} to {coarse}", downsampling(bucket, coarse))

    def _have_bucket(self, name: str, retention_d: float, description: str) -> None:
        api = self._client.buckets_api()
        wanted_s = max(MIN_RETENTION_S, round(retention_d * DAY_S)) if retention_d else 0
        try:
            if (there := self._find_bucket(name)) is not None:
                self._compare(name, there, wanted_s)
                return
            api.create_bucket(
                bucket_name=name,
                org=self._org,
                description=description,
                retention_rules=BucketRetentionRules(type="expire", every_seconds=wanted_s),
            )
            log.info("created bucket", bucket=name, retention_s=wanted_s)
        except ApiException as error:
            if error.status in REFUSED:
                log.warning(
                    "the token may not see or create this bucket: unless it is there, create it with"
                    " `influx bucket create --org ORG --name BUCKET --retention RETENTION`,"
                    " or use a token that may",
                    bucket=name,
                    org=self._org,
                    retention=f"{wanted_s}s" if wanted_s else "infinite",
                )
            elif error.status != 422 or self._find_bucket(name) is None:  # 422: another sink was quicker
                raise

    def _find_bucket(self, name: str) -> Any:
        try:
            found = self._client.buckets_api().find_buckets(name=name, org=self._org).buckets
        except ApiException as error:
            if error.status == 404:  # what InfluxDB says when there is no bucket of that name
                return None
            raise
        return found[0] if found else None

    def _compare(self, name: str, bucket: Any, wanted_s: int) -> None:
        has_s = next((rule.every_seconds for rule in bucket.retention_rules), 0)
        if has_s != wanted_s:
            # Not corrected: a shorter retention deletes data at once.
            log.warning(
                "the bucket keeps data for another time than the settings say: it is left as it is",
                bucket=name,
                has_s=has_s,
                settings_s=wanted_s,
                change=f"influx bucket update --id {bucket.id} --retention {wanted_s}s",
            )

    def _have_task(self, name: str, flux: str) -> None:
        api = self._client.tasks_api()
        whole = f"option task = {{name: {json.dumps(name)}, every: 5m, offset: 2m}}\n\n{flux}"
        try:
            tasks = sorted(api.find_tasks(name=name, org=self._org), key=lambda task: str(task.id))
            if not tasks:
                api.create_task(
                    task_create_request=TaskCreateRequest(org=self._org, flux=whole, status="active")
                )
                log.info("created task", task=name)
                return
            for surplus in tasks[1:]:  # two sinks that were started at the same time
                api.delete_task(surplus.id)
            if tasks[0].flux.strip() != whole.strip():
                api.update_task_request(tasks[0].id, TaskUpdateRequest(flux=whole))
                log.info("updated task", task=name)
        except ApiException as error:
            if error.status not in REFUSED:
                raise
            log.warning(
                "the token may not see or create tasks: unless this one is there, nothing fills the bucket at"
                " 5 minutes; create it, or use a token that may",
                task=name,
                flux=whole,
            )


def coarse_of(bucket: str) -> str:
    """Name of the bucket at 5 minutes that is beside a bucket."""
    return f"{bucket}_5m"


def downsampling(bucket: str, coarse: str) -> str:
    """Flux that fills the bucket at 5 minutes: means of values, and the last changes, at their times.

    Each run does the last hour again, which overwrites itself, so that an outage of the sink of up to an hour
    leaves no gap. Only this order of calls, with nothing between them, is computed inside InfluxDB's storage.
    What has no world is not the twin's, and may be text, of which there is no mean. Qualities are those of a
    tick, and a mean has none: they are left out.
    """
    source, target, changes = (
        json.dumps(name, ensure_ascii=False) for name in (bucket, coarse, ENTITY_STATE)
    )
    values = f"r._measurement != {changes} and r._field !~ /^{TICK_QUALITY}/ and exists r.world"
    return (
        f"from(bucket: {source})\n"
        f"    |> range(start: -1h)\n"
        f"    |> filter(fn: (r) => {values})\n"
        f'    |> aggregateWindow(every: 5m, fn: mean, createEmpty: false, timeSrc: "_start")\n'
        f"    |> to(bucket: {target})\n\n"
        f"from(bucket: {source})\n"
        f"    |> range(start: -1h)\n"
        f"    |> filter(fn: (r) => r._measurement == {changes} and exists r.world)\n"
        f"    |> window(every: 5m)\n"
        f"    |> last()\n"
        f"    |> to(bucket: {target})\n"
    )
