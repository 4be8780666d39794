import pytest

from controlplane.audit.canonical import digest_of
from controlplane.audit.redaction import LONGEST_TEXT, REDACTED, configured_secrets, redact, redact_text

BINANCE_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
BYBIT_SECRET = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF3gH6"
OKX_SECRET = "A1B2C3D4E5F60718293A4B5C6D7E8F90"


@pytest.mark.parametrize("secret", [BINANCE_KEY, BYBIT_SECRET, OKX_SECRET])
@pytest.mark.parametrize("shape", ["{}", "refused for key {}, try again", "key={}&x=1"])
def test_what_is_shaped_like_a_venue_key_is_taken_out(secret, shape):
    assert secret not in redact_text(shape.format(secret))


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh12345678",
        "postgres://owner:abcdefgh12345678@localhost/db",
        "https://example.com/fapi/v1/order?symbol=BTCUSDT&signature=abcdefgh12345678",
        "-----BEGIN PRIVATE KEY-----\nabcdefgh12345678\n-----END PRIVATE KEY-----",
    ],
)
def test_secrets_in_familiar_wrappings_are_taken_out(text):
    assert "abcdefgh12345678" not in redact_text(text)


def test_text_under_a_name_that_says_secret_is_taken_out_at_any_depth():
    value = {
        "venue": {"api_key": "short", "apiSecret_token": "x", "list": [{"password": "y"}]},
        "fencing_token": 7,
    }
    assert redact(value) == {
        "venue": {"api_key": REDACTED, "apiSecret_token": REDACTED, "list": [{"password": REDACTED}]},
        "fencing_token": 7,
    }


def test_the_configured_secrets_are_taken_out_whatever_their_shape(monkeypatch, tmp_path):
    file = tmp_path / "secret"
    file.write_text("plain words as a secret\n")
    monkeypatch.setenv("BYBIT_API_KEY__MAIN", "lowercaseonly")
    monkeypatch.setenv("OKX_PASSPHRASE_FILE", str(file))
    monkeypatch.setenv("OKX_API_SECRET_FILE", str(tmp_path / "absent"))
    configured_secrets.cache_clear()
    try:
        text = redact_text("it said lowercaseonly and plain words as a secret.")
    finally:
        configured_secrets.cache_clear()
    assert text == f"it said {REDACTED} and {REDACTED}."


@pytest.mark.parametrize(
    "text",
    [
        digest_of("x", "y"),
        "5f0c7a52-7b8e-4a53-9c0b-1f2e3d4c5b6a",
        "x-qtcp-20260301-000001-entry",
        "Halted: daily loss 5.2 % over the ceiling of 5 %.",
        "2026-03-01T12:00:00.000001Z",
    ],
)
def test_digests_ids_and_sentences_stay(text):
    assert redact_text(text) == text


def test_text_that_cannot_be_stored_is_made_storable():
    assert redact_text("a\0b\ud800c") == "a\N{REPLACEMENT CHARACTER}b?c"


def test_long_text_is_cut_and_says_so():
    text = redact_text("word " * LONGEST_TEXT)
    assert len(text) < LONGEST_TEXT + 50
    assert text.endswith(f"[cut, {5 * LONGEST_TEXT} characters]")
