"""A real ccxt client whose production addresses are redirected to a local server below its HTTP layer."""

from typing import Any
from urllib.parse import urlsplit

import ccxt
import requests
from requests.adapters import HTTPAdapter

from tests.trading.simulator.builders import CREDENTIALS


class Redirect(HTTPAdapter):
    """Sends every https request to a local address, path and query kept."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        url = urlsplit(request.url or "")
        request.url = f"{self._address}{url.path}" + (f"?{url.query}" if url.query else "")
        return super().send(request, *args, **kwargs)


def client_of(address: str, milliseconds: Any, **options: Any) -> ccxt.binanceusdm:
    """ccxt with its own URLs, signing with the given clock."""
    config = {
        "apiKey": CREDENTIALS.key,
        "secret": CREDENTIALS.secret,
        "enableRateLimit": False,
        "timeout": 5000,
    }
    client = ccxt.binanceusdm({**config, **options})
    client.session.trust_env = False
    client.session.mount("https://", Redirect(address))
    client.milliseconds = milliseconds
    return client
