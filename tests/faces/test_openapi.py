"""openapi.json beside this file is reviewed: the interface that others hold on to."""

import json
import os
from pathlib import Path

from controlplane.api import api

REVIEWED = Path(__file__).parent / "openapi.json"


def current() -> str:
    return json.dumps(json.loads(json.dumps(api.get_openapi_schema(path_prefix="/api/v1/"))), indent=1) + "\n"


def test_the_interface_is_the_reviewed_one():
    """After a wanted change: UPDATE_OPENAPI=1, then read the difference and note it in CHANGELOG."""
    if os.environ.get("UPDATE_OPENAPI"):
        REVIEWED.write_text(current(), encoding="utf-8")
    assert current() == REVIEWED.read_text(encoding="utf-8")


def test_the_description_is_served_without_a_token(client):
    answer = client.get("/api/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == json.loads(REVIEWED.read_text(encoding="utf-8"))


def test_the_page_of_the_description_takes_nothing_from_outside(client):
    text = client.get("/api/v1/docs").content.decode()
    assert "swagger-ui" in text
    assert "http://" not in text
    assert "https://" not in text


def test_every_operation_takes_a_token_and_says_how_it_refuses():
    for path, methods in api.get_openapi_schema(path_prefix="/api/v1/")["paths"].items():
        for operation in methods.values():
            assert operation["security"] == [{"BearerToken": []}], path
            assert "application/problem+json" in operation["responses"]["default"]["content"]


def test_money_is_text_everywhere():
    schemas = api.get_openapi_schema(path_prefix="/api/v1/")["components"]["schemas"]
    for name in ("OrderIntentIn", "OrderOut", "TradeOut", "PositionOut", "PriceOut", "HeadroomOut"):
        for field, shape in schemas[name]["properties"].items():
            kinds = {part.get("type") for part in shape.get("anyOf", [shape])}
            assert "number" not in kinds, f"{name}.{field}"
