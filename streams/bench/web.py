"""How soon `twin web` gives the whole state of 10,000 nodes."""

import asyncio
import time
from typing import Any

import aiohttp

from streams.bench.madeworld import made_world
from streams.bench.runs import DEADLINE_S
from streams.errors import TwinError
from streams.settings import Settings

NODES = 10_000
"""[1] Entities of the world."""

ASKED = 40
"""[1] Times that each question is asked, one after the other."""

CHANGES_PER_S = 200
"""[1/s] Of them while the state is asked for, so that not all of it is the same each time."""

PATH = "/twin/v1/state"


async def whole_state(settings: Settings) -> dict[str, Any]:
    """[ms] To the last byte of the state, and to the answer that it is still what the client has."""
    async with (
        asyncio.timeout(DEADLINE_S),
        made_world(settings, "web", NODES) as world,
        aiohttp.ClientSession(world.url) as session,
    ):
        first_ms, _, size = await _ask(session, None)
        async with world.changing(CHANGES_PER_S):
            whole = sorted([(await _ask(session, None))[0] for _ in range(ASKED)])
        known = await _still_tag(session)
        unchanged = sorted([(await _ask(session, known))[0] for _ in range(ASKED)])
    p95_ms, unchanged_p95_ms = whole[int(ASKED * 0.95)], unchanged[int(ASKED * 0.95)]
    what = f"GET {PATH}, {NODES:,} nodes"
    return {
        "bytes": size,
        "first_ms": first_ms,
        "whole_ms": whole,
        "unchanged_ms": unchanged,
        "rows": [
            (
                f"{what}, {CHANGES_PER_S} changes/s, p95, ms",
                "≤ 300",
                f"{p95_ms:.0f} (p50 {whole[ASKED // 2]:.0f}; the very first {first_ms:.0f})",
                p95_ms <= 300,
            ),
            (
                f"{what}, If-None-Match, p95, ms",
                "≤ 40",
                f"{unchanged_p95_ms:.1f} (p50 {unchanged[ASKED // 2]:.1f})",
                unchanged_p95_ms <= 40,
            ),
        ],
    }


async def _ask(session: aiohttp.ClientSession, tag: str | None) -> tuple[float, str, int]:
    """[ms] It took, the tag of the answer, and [B] its size; with a tag nothing may have changed."""
    begun_s = time.monotonic()
    async with session.get(PATH, headers={"If-None-Match": tag} if tag else {}) as answer:
        body = await answer.read()
        took_ms = (time.monotonic() - begun_s) * 1000
        if answer.status != (304 if tag else 200):
            raise TwinError(f"{answer.url}: HTTP {answer.status}: {body[:300]!r}")
        return took_ms, answer.headers["ETag"], len(body)


async def _still_tag(session: aiohttp.ClientSession) -> str:
    """The tag of the state once nothing changes any more."""
    tags = ["", " "]
    while tags[-1] != tags[-2]:
        await asyncio.sleep(0.5)
        tags.append((await _ask(session, None))[1])
    return tags[-1]
