"""Source `host`: this machine by psutil, so that there is something true to see anywhere."""

import asyncio
import platform
import re
import socket
from collections.abc import Iterator
from functools import cache

import psutil

from streams.collect.target import Harvest, Target
from streams.collect.threads import in_thread
from streams.domain.series import format_series
from streams.errors import SourceError

NOT_BUSY = ("idle", "guest", "guest_nice")
"""Times of a processor that are no work; what a guest uses is in `user` and `nice` already."""

INNER_DEVICE = re.compile(
    r"lo\d*|(veth|docker|br-|cali|flannel|cni|cilium|lxc|virbr|tun|tap|kube-|nodelocaldns|dummy|ifb|ovs-).*"
)
"""Network devices whose traffic does not leave the machine, or is counted by another device too."""

Reading = tuple[str, dict[str, str], float]
"""Name, labels and value of a series."""


class HostSource:
    """This machine."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._busy_s = 0.0

    async def collect(self) -> Harvest:
        """Read once; SourceError when a disk or a sensor hangs."""
        try:
            async with asyncio.timeout(self.target.timeout_s):
                readings = await in_thread(lambda: list(self._read()))
        except TimeoutError:
            raise SourceError(
                "timeout", f"the machine was not read within {self.target.timeout_s:g} s"
            ) from None
        harvest = Harvest()
        for name, labels, value in readings:
            harvest.series.append(format_series(name, {"node": self.target.name, **labels}))
            harvest.values.append(float(value))
            harvest.times_ms.append(0)
        return harvest

    def _read(self) -> Iterator[Reading]:
        yield "host_info", {"machine": platform.machine(), "system": platform.system()}, 1.0
        yield "host_boot_time_seconds", {}, psutil.boot_time()
        times = psutil.cpu_times()._asdict()
        # The kernel lets the time of waiting for disks shrink at times, and a counter must not.
        self._busy_s = max(self._busy_s, sum(spent for name, spent in times.items() if name not in NOT_BUSY))
        yield "host_cpu_busy_seconds_total", {}, self._busy_s
        if count := psutil.cpu_count():
            yield "host_cpu_count", {}, count
        yield "host_load1", {}, psutil.getloadavg()[0]
        memory = psutil.virtual_memory()
        yield "host_memory_total_bytes", {}, memory.total
        yield "host_memory_available_bytes", {}, memory.available
        disk = psutil.disk_usage("/")
        yield "host_disk_total_bytes", {}, disk.total
        yield "host_disk_free_bytes", {}, disk.free
        for device, traffic in psutil.net_io_counters(pernic=True).items():
            if not INNER_DEVICE.fullmatch(device):
                yield "host_network_receive_bytes_total", {"device": device}, traffic.bytes_recv
                yield "host_network_transmit_bytes_total", {"device": device}, traffic.bytes_sent
        yield from _temperatures()


def _temperatures() -> Iterator[Reading]:
    if not hasattr(psutil, "sensors_temperatures"):  # Linux and FreeBSD alone have it
        return
    for chip, sensors in psutil.sensors_temperatures().items():
        for number, sensor in enumerate(sensors):
            yield "host_temperature_celsius", {"sensor": f"{chip}/{sensor.label or number}"}, sensor.current


@cache
def host_name() -> str:
    """Name of this machine, without its domain."""
    return socket.gethostname().partition(".")[0] or "localhost"
