"""What no line of the log may hold, however it came there; and that ids and numbers stay."""

import pytest

from lms_crm_assets.telemetry.redaction import REDACTED, redacted, redacted_text

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("no such user canary.o'neil+x@sub.example.org in list", "canary"),
        ("GET /users?email=canary%40example.org HTTP/1.1", "canary"),
        ("Ünïcödé.canary@exämple.org", "canary"),
        ("{'Authorization': 'Bearer canary-canary'}", "canary"),
        ("authorization: basic Y2FuYXJ5OmNhbmFyeQ==", "Y2FuYXJ5"),
        ("Retry: url=/webservice/rest/server.php?wstoken=canary0123&wsfunction=core_user", "canary"),
        ("grant_type=refresh_token&refresh_token=canary&client_secret=canary2", "canary"),
        ('{"access_token": "canary", "instance_url": "https://x"}', "canary"),
        ("callback?code=canary0123&state=x", "canary"),
        (f"assertion is {JWT}", "eyJ"),
        ("whsec_Y2FuYXJ5Y2FuYXJ5", "Y2Fu"),
        ("token pat-na1-0123abcd-0123-0123-0123-0123456789ab of portal", "0123abcd"),
        ("sid 00D5g00000CANARY!AQEAQCANARYCANARY_CANARY.x", "CANARY"),
        ("password='canary canary'", "'canary"),
    ],
)
def test_what_looks_like_a_secret_or_an_address_is_taken_out(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redacted_text(text)
    assert REDACTED in redacted_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "upsert-12",
        "the CRM answers 429: DAILY limit, code DUPLICATE_VALUE",
        "https://example.my.salesforce.com answers 503",
        "2026-11-27T00:00:00.000Z",
        "INVALID_EMAIL_ADDRESS",
    ],
)
def test_ids_and_words_of_ours_stay(text: str) -> None:
    assert redacted_text(text) == text


def test_a_value_under_a_telling_name_goes_whatever_it_is_and_numbers_stay() -> None:
    line = {
        "Authorization": "x",
        "client_secret": ["x"],
        "headers": {"X-Api-Key": b"x", "Set-Cookie": "x"},
        "calls": 3,
        "token_calls": 2,
        "nested": [{"email": "x"}, ("a@b.example",)],
        "object": object(),
    }

    assert redacted(line) == {
        "Authorization": REDACTED,
        "client_secret": REDACTED,
        "headers": {"X-Api-Key": REDACTED, "Set-Cookie": REDACTED},
        "calls": 3,
        "token_calls": 2,
        "nested": [{"email": REDACTED}, [REDACTED]],
        "object": "<object>",
    }


@pytest.mark.parametrize("piece", ["a", "token", "a.", "@", "eyJ", "a@", "session_id "])
def test_a_long_text_costs_no_more_than_its_beginning(piece: str) -> None:
    assert len(redacted_text(piece * 1_000_000)) < 100_000
