"""Source `exposition`: an exporter's /metrics, Prometheus text or OpenMetrics by content type."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from streams.collect.fetch import Answer, Fetcher
from streams.collect.target import Harvest, Target
from streams.collect.threads import in_thread
from streams.domain.series import format_series
from streams.errors import SourceError

ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
"""OpenMetrics first, as Prometheus asks: its answer says where it ends."""

TYPES = ("text/plain", "application/openmetrics-text", "application/octet-stream", "")
"""Content types that can be an exposition; static files and careless exporters say the last two."""

LARGE_BODY = 256 * 1024
"""[B] From here on a body is parsed in a thread, so that other targets' answers need not wait for it."""

MAX_LINE = 16 * 1024
"""[characters] A longer line is no sample; the parsing of a line must not take long, whatever is in it."""

MAX_TIME_MS = 2**53
"""[ms] Beyond any date, and exact as a double."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_SAMPLE = re.compile(
    rf"(?P<series>[a-zA-Z_:][a-zA-Z0-9_:]*[ \t]*(?:\{{(?:[^\"}}]|{_QUOTED})*\}})?)[ \t]*"
    r"(?<=[ \t}])(?P<value>[^\s#{]+)(?:[ \t]+(?P<time>[^\s#]+))?[ \t]*(?P<exemplar># .*)?"
)
_UTF8_NAME = re.compile(rf"\{{[ \t]*{_QUOTED}[ \t]*[,}}]")
_LABEL = re.compile(rf"[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*({_QUOTED})[ \t]*(?:,|$)")
_ESCAPE = re.compile(r'\\([\\"n])')


@dataclass
class Exposition:
    """The wanted samples of an exposition, in its order; a time of 0 means that it gives none."""

    series: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    unmapped: int = 0


class ExpositionSource:
    """One exporter."""

    def __init__(self, target: Target, fetcher: Fetcher) -> None:
        self.target = target
        self._fetcher = fetcher

    async def collect(self) -> Harvest:
        """Scrape once; SourceError when the answer is no exposition."""
        answer = await self._fetcher.fetch(self.target, accept=ACCEPT)
        if len(answer.body) < LARGE_BODY:
            return self._parse(answer)
        return await in_thread(lambda: self._parse(answer))

    def _parse(self, answer: Answer) -> Harvest:
        content_type = answer.content_type.partition(";")[0].strip().lower()
        if content_type not in TYPES:
            raise SourceError("content_type", f"content type {content_type!r} is no exposition of metrics")
        text = decode(answer.body)
        openmetrics = content_type == "application/openmetrics-text"
        if not answer.whole and not openmetrics and not text.endswith("\n"):
            raise SourceError("incomplete", "the answer ends in the middle of a line")
        found = parse_exposition(text, self.target.pack.wants, openmetrics=openmetrics)
        harvest = Harvest(found.series, found.values, found.times_ms, scraped_s=answer.received_s)
        harvest.drop("unmapped", found.unmapped)
        return harvest


def decode(body: bytes) -> str:
    """The text of a body; SourceError when it is empty or not UTF-8."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        byte = body[error.start]
        raise SourceError("utf8", f"line {line}: byte {byte:#04x} at {error.start} is not UTF-8") from None
    if not text.strip():
        raise SourceError("empty", "the answer is empty")
    return text


def parse_exposition(text: str, wants: Callable[[str], bool], *, openmetrics: bool = False) -> Exposition:
    """The samples whose metric name `wants` takes; the others are counted.

    Formats: https://prometheus.io/docs/instrumenting/exposition_formats/ (text 0.0.4), and
    https://prometheus.io/docs/specs/om/open_metrics_spec/ (1.0.0). Of an unwanted metric only the first
    sample is looked at: most of what exporters offer is unwanted, and this is what makes it cheap.

    Raises:
        SourceError: a line that is no sample, with its number and text; no sample at all; or no end mark.
    """
    found = Exposition()
    lines = text.split("\n")
    if openmetrics and "# EOF" not in (line.rstrip("\r") for line in lines[-2:]):
        raise SourceError("incomplete", "the OpenMetrics answer does not end with # EOF")
    wanted: dict[str, bool] = {}
    unwanted = "#"  # what the lines of an unwanted metric, or comments, begin with
    for number, line in enumerate(lines, 1):
        if line.startswith(unwanted):
            found.unmapped += unwanted != "#"
            continue
        if line.startswith("#") or not line.strip():
            continue
        match = _NAME.match(line) if len(line) <= MAX_LINE else None
        name = match.group() if match else ""
        if name and wanted.get(name):
            _append(found, number, line, openmetrics)
            continue
        if name not in wanted:
            _check(number, line)
            wanted[name] = bool(name) and wants(name)
            if wanted[name]:
                _append(found, number, line, openmetrics)
                continue
        found.unmapped += 1
        unwanted = f"{name}{{" if line.startswith(f"{name}{{") and name else "#"
    if not found.series and not found.unmapped:
        raise SourceError("empty", "the answer has no sample")
    return found


def _append(found: Exposition, number: int, line: str, openmetrics: bool) -> None:
    match = _SAMPLE.fullmatch(line.rstrip("\r"))
    if match is None:
        raise _no_sample(number, line)
    raw, value, time, exemplar = match.group("series", "value", "time", "exemplar")
    if exemplar and not openmetrics:
        raise _no_sample(number, line)
    try:
        series = canonical_series(raw)
        sample = _number(value)
        time_ms = 0
        if time:
            time_ms = round(_number(time) * 1000) if openmetrics else int(time)
            if abs(time_ms) > MAX_TIME_MS:
                raise ValueError
    except (ValueError, OverflowError):
        raise _no_sample(number, line) from None
    found.series.append(series)
    found.values.append(sample)
    found.times_ms.append(time_ms)


def _check(number: int, line: str) -> None:
    match = _SAMPLE.fullmatch(line.rstrip("\r")) if len(line) <= MAX_LINE else None
    try:
        if match is not None:
            _number(match["value"])
        elif not _UTF8_NAME.match(line):
            raise ValueError
    except ValueError:
        raise _no_sample(number, line) from None


def _no_sample(number: int, line: str) -> SourceError:
    return SourceError("parse", f"line {number} is not a sample: {line[:120]!r}")


def _number(text: str) -> float:
    if "_" in text:  # Python reads 1_000
        raise ValueError(text)
    return float(text)


@lru_cache(maxsize=65_536)
def canonical_series(raw: str) -> str:
    """The series of a line, with its labels sorted and without empty ones.

    Cached because exporters of one kind offer the same series, scrape after scrape.

    Raises:
        ValueError: the labels are not well-formed.
    """
    name, brace, rest = raw.strip(" \t").partition("{")
    labels: dict[str, str] = {}
    text = rest[:-1] if brace else ""
    place = 0
    while text[place:].strip(" \t"):
        match = _LABEL.match(text, place)
        if match is None or match[1] in labels:
            raise ValueError(raw)
        value = match[2][1:-1]
        labels[match[1]] = _ESCAPE.sub(_unescape, value) if "\\" in value else value
        place = match.end()
    return format_series(name.rstrip(" \t"), {label: value for label, value in labels.items() if value})


def _unescape(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
