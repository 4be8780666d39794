"""A client of the API and people who can sign in."""

import json

import pytest
from django.test import Client

from tests import factories

TOKEN = "a-token-for-tests"


class ApiClient:
    """Sends JSON with a bearer token."""

    def __init__(self, token: str | None = TOKEN) -> None:
        self.client = Client()
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def get(self, path: str, **query):
        return self.client.get(f"/api/v1{path}", query, headers=self.headers)

    def post(self, path: str, body, **headers):
        data = body if isinstance(body, str | bytes) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(
            f"/api/v1{path}", data, content_type="application/json", headers=self.headers | named
        )


@pytest.fixture
def token(db):
    return factories.ApiTokenFactory(name="bot", raw=TOKEN)


@pytest.fixture
def api(token):
    return ApiClient()


@pytest.fixture
def desk(db):
    return factories.make_desk()
