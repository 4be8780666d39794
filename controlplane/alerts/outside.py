"""Life shown to somebody outside: whose silence is the alarm that we cannot raise ourselves.

A dead machine tells nobody anything. A watch elsewhere that expects a request a minute does.
"""

import requests

from controlplane.alerts.channels import CONNECT_SECONDS, READ_SECONDS, without_secrets


def knock(url: str) -> str:
    """Ask the address once; returns "" where it answered 2xx, else why not, without the address's secrets."""
    try:
        answer = requests.get(url, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False)
    except requests.RequestException as error:
        return without_secrets(type(error).__name__, url)
    return "" if 200 <= answer.status_code < 300 else f"HTTP {answer.status_code}"
