"""Where the web role may listen: without keys only where nobody else can reach it."""

import socket

from streams.errors import SettingsError
from streams.settings import Settings
from streams.web.access.config import AccessConfig, is_loopback, load_access


def check_address(settings: Settings, config: AccessConfig | None = None, address: str | None = None) -> None:
    """Refuse to be reached from other machines while nobody needs a key.

    Args:
        config: the rules; None: those of the settings.
        address: what is listened on already; None: what TWIN_WEB_HOST means.

    Raises:
        SettingsError: saying how to make a key; or the rules cannot be used.
    """
    rules = config or load_access(settings)
    if rules.is_open and not is_loopback(address or _address_of(settings.web_host)):
        raise SettingsError(
            [
                f"TWIN_WEB_HOST: {settings.web_host} can be reached from other machines, and nobody needs a"
                " key: `twin key NAME` makes one for TWIN_CONFIG (TWIN_INTERNAL_API_KEY is one, too);"
                " TWIN_WEB_HOST=127.0.0.1 serves this machine alone"
            ]
        )


def _address_of(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return host  # who listens on it says what is wrong
