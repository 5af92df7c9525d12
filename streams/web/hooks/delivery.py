"""Sends one batch to a webhook once, and says how long to wait before the next attempt."""

import hmac
from typing import NamedTuple

import aiohttp
from yarl import URL

RETRY_S, LONGEST_S = 1.0, 300.0
"""[s] Before the first attempt after one that failed, and at most."""

PASSING = frozenset({408, 409, 425, 429})
"""Statuses from 400 to 499 that say: not now."""


class Outcome(NamedTuple):
    """What became of an attempt; `error` is None when it was taken."""

    status: int | None
    error: str | None

    @property
    def is_refusal(self) -> bool:
        """Whether the receiver will say the same the next time."""
        return self.status is not None and 400 <= self.status < 500 and self.status not in PASSING


def sign(secret: str, time_s: int, body: bytes) -> str:
    """Content of the header Twin-Signature: HMAC-SHA256 over the time, a dot, and the body."""
    digest = hmac.digest(secret.encode(), b"%d.%b" % (time_s, body), "sha256")
    return f"t={time_s},v1={digest.hex()}"


def backoff_s(failures: int, chance: float) -> float:
    """[s] To wait after so many attempts that failed.

    Args:
        failures: [1] in a row, from 1.
        chance: 0..1, so that not all come back at once.
    """
    longest = min(LONGEST_S, RETRY_S * float(1 << min(failures, 20)))
    return longest * (0.5 + chance / 2)


async def send(
    session: aiohttp.ClientSession, url: str, secret: str, number: str, body: bytes, time_s: int
) -> Outcome:
    """Post a batch; `number` is that of the delivery, the same each time it is tried."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "decice-twin",
        "Twin-Delivery": number,
        "Twin-Signature": sign(secret, time_s, body),
    }
    try:
        async with session.post(
            URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
        ) as response:
            status = response.status
    except TimeoutError:
        return Outcome(None, "no answer in time")
    except aiohttp.ClientConnectorError as error:
        return Outcome(None, f"cannot connect: {error.os_error.strerror or error.os_error}")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Outcome(None, f"no answer that can be read: {type(error).__name__}")
    return Outcome(status, None if 200 <= status < 300 else f"answered {status}")
