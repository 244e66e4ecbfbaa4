"""The HubSpot simulator over real HTTP, through `hubspot-api-client` as it is and through plain httpx."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hubspot import HubSpot
from hubspot.crm.associations.v4 import BatchInputPublicAssociationMultiPost, PublicAssociationMultiPost
from hubspot.crm.objects import (
    ApiException,
    BatchInputSimplePublicObjectBatchInputUpsert,
    BatchReadInputSimplePublicObjectId,
    PublicObjectSearchRequest,
)

from lms_crm_assets.sandbox.hubspot import HubSpotSimulator
from lms_crm_assets.sandbox.hubspot.errors import HubSpotError
from lms_crm_assets.sandbox.hubspot.limits import Limits
from lms_crm_assets.sandbox.hubspot.options import Options
from tests.sandbox.hubspot_portal import (
    CONTACTS,
    COURSES,
    ENROLLMENTS,
    JSON,
    LINKS,
    calling,
    codes,
    create,
    define,
    eventually,
    grant,
    mutate,
    post,
    refusal,
    reset,
    stats,
    upsert,
    vendors_client,
)
from tests.simulator_server import serving


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(HubSpotSimulator()) as found:
        yield found


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with calling(address) as client:
        yield client


@pytest.fixture
def hubspot(http: httpx.Client) -> Iterator[HubSpot]:
    with vendors_client(str(http.base_url).rstrip("/")) as client:
        yield client


class TestAuthentication:
    def test_missing_and_unknown_tokens_are_refused(self, http: httpx.Client) -> None:
        for header in ("", "Bearer nobody", "Basic pat-sandbox"):
            body = refusal(http.get(CONTACTS, headers={"Authorization": header}), 401)
            assert body["category"] == "INVALID_AUTHENTICATION"
            assert body["message"].startswith("Authentication credentials not found.")

    @pytest.mark.parametrize("version", ["v1", "v3", "2026-03"])
    def test_each_grant_gives_a_token_for_1800_seconds(self, http: httpx.Client, version: str) -> None:
        for form in (
            {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh-token"},
            {"grant_type": "authorization_code", "code": "sandbox-code", "redirect_uri": "https://x"},
            {"grant_type": "client_credentials"},
        ):
            answer = grant(http, version=version, **form)
            assert answer.status_code == 200
            assert (answer.json()["expires_in"], answer.json()["token_type"]) == (1800, "bearer")
            token = answer.json()["access_token"]
            assert http.get(CONTACTS, headers={"Authorization": f"Bearer {token}"}).status_code == 200

    def test_the_vendors_client_refreshes(self, hubspot: Any) -> None:
        answer = hubspot.oauth.tokens_api.create(
            grant_type="refresh_token",
            refresh_token="sandbox-refresh-token",
            client_id="sandbox-client",
            client_secret="sandbox-secret",
        )
        assert answer.refresh_token == "sandbox-refresh-token"

    @pytest.mark.parametrize(
        ("form", "status"),
        [
            ({"grant_type": "refresh_token", "refresh_token": "old"}, "BAD_REFRESH_TOKEN"),
            ({"grant_type": "refresh_token", "client_secret": "no"}, "BAD_CLIENT_SECRET"),
            ({"grant_type": "refresh_token", "client_id": "no"}, "BAD_CLIENT_ID"),
            ({"grant_type": "authorization_code", "code": "no"}, "BAD_AUTH_CODE"),
            ({"grant_type": "authorization_code", "code": "sandbox-code"}, "BAD_REDIRECT_URI"),
            ({"grant_type": "password"}, "BAD_GRANT_TYPE"),
        ],
    )
    def test_a_bad_grant_is_refused_by_name(self, http: httpx.Client, form: dict[str, str], status: str) -> None:
        body = refusal(grant(http, **form), 400)
        assert body["status"] == status
        assert {"message", "category"} <= body.keys()

    def test_a_grant_must_be_a_form(self, http: httpx.Client) -> None:
        assert http.post("/oauth/v1/token", json={"grant_type": "refresh_token"}).status_code == 415

    def test_a_token_ends_after_its_calls(self, http: httpx.Client) -> None:
        reset(http, token_calls=2)
        token = grant(http, grant_type="client_credentials").json()["access_token"]
        answers = [http.get(CONTACTS, headers={"Authorization": f"Bearer {token}"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 401]
        body = refusal(answers[-1], 401)
        assert body["category"] == "EXPIRED_AUTHENTICATION"
        assert body["message"] == "The OAuth token used to make this call expired 0 second(s) ago."
        assert list(body["context"]) == ["expire time"]

    def test_a_token_ends_with_its_time(self, http: httpx.Client) -> None:
        reset(http, token_seconds=0)
        token = grant(http, grant_type="client_credentials").json()["access_token"]
        body = refusal(http.get(CONTACTS, headers={"Authorization": f"Bearer {token}"}), 401)
        assert body["category"] == "EXPIRED_AUTHENTICATION"

    def test_rotation_kills_the_old_refresh_token(self, http: httpx.Client) -> None:
        reset(http, rotate_refresh_tokens=True)
        form = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh-token"}
        renewed = grant(http, **form).json()["refresh_token"]
        assert refusal(grant(http, **form), 400)["status"] == "BAD_REFRESH_TOKEN"
        assert grant(http, grant_type="refresh_token", refresh_token=renewed).status_code == 200

    def test_account_information(self, http: httpx.Client) -> None:
        assert http.get("/account-info/v3/details").json()["portalId"] == 12345678
        [usage] = http.get("/account-info/v3/api-usage/daily/private-apps").json()["results"]
        assert (usage["usageLimit"], usage["currentUsage"]) == (1_000_000, 2)


class TestProtocol:
    def test_malformed_json_is_refused_with_its_place(self, http: httpx.Client) -> None:
        body = refusal(http.post(CONTACTS, content=b'{"properties":\n nope}', headers=JSON), 400)
        assert body["message"].startswith("Invalid input JSON on line 2, column ")
        assert body["category"] == "VALIDATION_ERROR"

    def test_missing_fields_are_named(self, http: httpx.Client) -> None:
        body = refusal(http.post(f"{CONTACTS}/batch/upsert", json={}), 400)
        assert body["message"] == "Invalid input JSON on line 1, column 2. Some required fields were not set: [inputs]"

    @pytest.mark.parametrize(
        ("value", "name"), [(7, "Integer"), (True, "Boolean"), (1.5, "Floating-point"), ([], "Array")]
    )
    def test_values_are_strings(self, http: httpx.Client, value: object, name: str) -> None:
        body = refusal(http.post(f"{CONTACTS}/batch/upsert", json={"inputs": [upsert("1", firstname=value)]}), 400)
        assert body["message"].startswith("Invalid input JSON on line 1, column ")
        assert f"Cannot deserialize value of type `java.lang.String` from {name} value" in body["message"]
        assert body["category"] == "VALIDATION_ERROR"

    def test_unknown_keys_of_an_input_are_refused(self, http: httpx.Client) -> None:
        given = {"inputs": [{**upsert("1"), "externalId": "1"}]}
        body = refusal(http.post(f"{CONTACTS}/batch/upsert", json=given), 400)
        assert 'Unrecognized field "externalId"' in body["message"]

    def test_compressed_and_foreign_bodies_are_refused(self, http: httpx.Client) -> None:
        packed = gzip.compress(b'{"properties":{}}')
        assert http.post(CONTACTS, content=packed, headers={**JSON, "Content-Encoding": "gzip"}).status_code == 415
        assert http.post(CONTACTS, data={"properties": "{}"}).status_code == 415

    def test_large_answers_are_compressed_when_asked(self, http: httpx.Client) -> None:
        small = http.get("/account-info/v3/details")
        large = http.get("/crm/v3/properties/contacts")
        assert "content-encoding" not in small.headers
        assert large.headers["content-encoding"] == "gzip"
        assert (
            "content-encoding" not in http.get("/crm/v3/properties/contacts", headers={"Accept-Encoding": ""}).headers
        )

    def test_unknown_paths_and_methods(self, http: httpx.Client) -> None:
        assert refusal(http.get("/crm/v3/nothing"), 404) == {"status": "error", "message": "resource not found"}
        assert refusal(http.get("/crm/objects/2025-01/contacts"), 404)["message"] == "resource not found"
        answer = http.put(CONTACTS)
        refusal(answer, 405)
        assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))

    @pytest.mark.parametrize("path", ["/crm/v3/objects/foo", "/crm/v3/properties/foo", "/crm/v3/schemas/foo"])
    def test_unknown_object_types(self, http: httpx.Client, path: str) -> None:
        body = refusal(http.get(path), 400)
        assert body == {"status": "error", "message": "Unable to infer object type from: foo"}

    @pytest.mark.parametrize(
        ("name", "path"),
        [
            *(("contacts", name) for name in ("contacts", "contact", "0-1", "CONTACT")),
            *(("companies", name) for name in ("companies", "company", "0-2")),
            *(("courses", name) for name in ("courses", "course", "0-410")),
            *(("lms_enrollment", f"{prefix}lms_enrollment") for prefix in ("", "p_", "p12345678_")),
            ("lms_enrollment", "2-1001"),
        ],
    )
    def test_every_spelling_of_a_type_on_every_path(self, http: httpx.Client, name: str, path: str) -> None:
        mutate(
            http, {"object": name, "op": "create", "properties": {"hs_course_name": "A"} if name == "courses" else {}}
        )
        for base in ("/crm/v3/objects", "/crm/objects/2026-03", "/crm/objects/2026-09"):
            assert len(http.get(f"{base}/{path}").json()["results"]) == 1


class TestRecords:
    def test_the_vendors_client_lists_everything(self, hubspot: Any, http: httpx.Client) -> None:
        for number in range(7):
            create(http, CONTACTS, lms_user_id=str(number), firstname="Ann")
        api = hubspot.crm.objects.basic_api
        page = api.get_page("contacts", limit=5, properties=["firstname", "lms_user_id", "nothing"])
        assert len(page.results) == 5
        rest = api.get_page("contacts", limit=5, after=page.paging.next.after, properties=["lms_user_id"])
        assert [one.properties["lms_user_id"] for one in (*page.results, *rest.results)] == [str(n) for n in range(7)]
        assert rest.paging is None
        assert page.results[0].properties.keys() == {
            "firstname", "lms_user_id", "createdate", "hs_object_id", "lastmodifieddate",
        }  # fmt: skip

    def test_default_properties_and_nulls(self, http: httpx.Client) -> None:
        create(http, ENROLLMENTS, lms_enrollment_id="1", lms_role="student")
        create(http, CONTACTS, email="a@example.com")
        [enrollment] = http.get(ENROLLMENTS).json()["results"]
        assert enrollment["properties"].keys() == {"hs_createdate", "hs_lastmodifieddate", "hs_object_id"}
        [contact] = http.get(f"{CONTACTS}?properties=email,phone&properties=company").json()["results"]
        assert (contact["properties"]["phone"], contact["properties"]["company"]) == (None, None)
        assert contact["properties"]["hs_object_id"] == contact["id"]

    @pytest.mark.parametrize("query", ["limit=101", "limit=0", "limit=x", "after=x", "archived=maybe"])
    def test_bad_parameters(self, http: httpx.Client, query: str) -> None:
        assert refusal(http.get(f"{CONTACTS}?{query}"), 400)["category"] == "VALIDATION_ERROR"

    def test_history_is_limited_to_50(self, http: httpx.Client) -> None:
        create(http, CONTACTS, firstname="Ann")
        assert http.get(f"{CONTACTS}?limit=51&propertiesWithHistory=firstname").status_code == 400
        [shown] = http.get(f"{CONTACTS}?limit=50&propertiesWithHistory=firstname").json()["results"]
        assert shown["propertiesWithHistory"]["firstname"][0]["value"] == "Ann"

    def test_life_of_a_record(self, http: httpx.Client) -> None:
        number = create(http, CONTACTS, email=" Ann@Example.COM ", lms_user_id="7")
        by_mail = http.get(f"{CONTACTS}/ANN@example.com?idProperty=email").json()
        assert (by_mail["id"], by_mail["properties"]["email"]) == (number, "ann@example.com")
        changed = http.patch(f"{CONTACTS}/7?idProperty=lms_user_id", json={"properties": {"firstname": "Ann"}})
        assert changed.json()["properties"]["firstname"] == "Ann"
        assert changed.json()["updatedAt"] >= changed.json()["createdAt"]
        assert http.delete(f"{CONTACTS}/{number}").status_code == 204
        assert refusal(http.get(f"{CONTACTS}/{number}"), 404)["category"] == "OBJECT_NOT_FOUND"
        assert http.get(CONTACTS).json()["results"] == []
        [archived] = http.get(f"{CONTACTS}?archived=true").json()["results"]
        assert (archived["id"], archived["archived"]) == (number, True)
        assert http.get(f"{CONTACTS}/{number}?archived=true").json()["archivedAt"]
        assert create(http, CONTACTS, email="ann@example.com") != number
        assert stats(http)["contacts"] == {"created": 2, "updated": 1, "archived": 1}

    def test_an_update_needs_a_record_and_properties(self, http: httpx.Client) -> None:
        assert refusal(http.patch(f"{CONTACTS}/1", json={"properties": {"phone": "1"}}), 404)
        body = refusal(http.patch(f"{CONTACTS}/1", json={"properties": {}}), 400)
        assert body["message"] == "No properties found to update, please provide at least one."
        assert refusal(http.delete(f"{CONTACTS}/1"), 404)

    def test_an_address_belongs_to_one_contact(self, http: httpx.Client) -> None:
        number = create(http, CONTACTS, email="ann@example.com")
        body = refusal(http.post(CONTACTS, json={"properties": {"email": "ANN@example.com"}}), 409)
        assert body["message"] == f"Contact already exists. Existing ID: {number}"
        assert body["category"] == "CONFLICT"
        assert stats(http)["contacts"]["rejected"] == 1

    def test_a_unique_value_belongs_to_one_record(self, http: httpx.Client) -> None:
        number = create(http, ENROLLMENTS, lms_enrollment_id="1")
        body = refusal(http.post(ENROLLMENTS, json={"properties": {"lms_enrollment_id": "1"}}), 400)
        assert body["category"] == "VALIDATION_ERROR"
        assert body["message"].startswith("Cannot set PropertyValueCoordinates{portalId=12345678, ")
        assert body["message"].endswith(f"{number} already has that value.")

    def test_a_course_needs_its_name(self, http: httpx.Client) -> None:
        body = refusal(http.post(COURSES, json={"properties": {"lms_course_id": "1"}}), 400)
        assert body["message"] == "Error creating COURSE. Some required properties were not set."
        assert body["context"] == {"properties": ["hs_course_name"]}

    def test_records_merge(self, http: httpx.Client) -> None:
        winner, loser = create(http, CONTACTS, firstname="Ann"), create(http, CONTACTS, phone="1")
        given = {"primaryObjectId": winner, "objectIdToMerge": loser}
        assert http.post(f"{CONTACTS}/merge", json=given).json()["id"] == winner
        assert http.get(f"{CONTACTS}/{loser}?properties=phone").json()["properties"]["phone"] == "1"
        assert refusal(http.post(f"{CONTACTS}/merge", json=given), 404)

    def test_a_create_can_link(self, http: httpx.Client) -> None:
        contact = create(http, CONTACTS, email="a@example.com")
        [kind] = http.get(f"{LINKS}/labels").json()["results"]
        spec = {"associationCategory": kind["category"], "associationTypeId": kind["typeId"]}
        given = {"properties": {"lms_enrollment_id": "1"}, "associations": [{"to": {"id": contact}, "types": [spec]}]}
        number = http.post(ENROLLMENTS, json=given).json()["id"]
        read = http.get(f"{ENROLLMENTS}/{number}?associations=contacts,0-410").json()
        assert read["associations"] == {"contacts": {"results": [{"id": contact, "type": "lms_enrollment_to_contact"}]}}
        back = http.get(f"{CONTACTS}?associations=lms_enrollment").json()["results"][0]["associations"]
        assert back["p12345678_lms_enrollment"]["results"][0]["id"] == number


class TestValues:
    @pytest.mark.parametrize(
        ("path", "name", "sent", "kept"),
        [
            ("lms_completion", "lms_score", "71.80", "71.8"),
            ("lms_completion", "lms_score", "-0.0", "0"),
            ("lms_completion", "lms_score", "1e3", "1000"),
            ("lms_completion", "lms_completed_at", "1795387800000", "2026-11-22T22:50:00Z"),
            ("lms_completion", "lms_completed_at", "1795387800123", "2026-11-22T22:50:00.123Z"),
            ("lms_completion", "lms_completed_at", "2026-11-22T23:50:00.123456+01:00", "2026-11-22T22:50:00.123Z"),
            ("lms_competency", "lms_proficient", "true", "true"),
            ("contacts", "lms_status", "suspended", "suspended"),
            ("contacts", "firstname", " Ann ", " Ann "),
            ("contacts", "jobtitle", "x" * 65_536, "x" * 65_536),
        ],
    )
    def test_values_come_back_in_canonical_form(
        self, http: httpx.Client, path: str, name: str, sent: str, kept: str
    ) -> None:
        made = http.post(f"/crm/v3/objects/{path}", json={"properties": {name: sent}})
        assert made.json()["properties"][name] == kept

    @pytest.mark.parametrize(
        ("path", "name", "sent", "code", "message"),
        [
            ("contacts", "missing", "1", "PROPERTY_DOESNT_EXIST", 'Property "missing" does not exist'),
            ("contacts", "email", "ann@", "INVALID_EMAIL", "Email address ann@ is invalid"),
            ("contacts", "lms_status", "gone", "INVALID_OPTION", "gone was not one of the allowed options: [active, suspended]"),
            ("contacts", "hs_object_id", "1", "READ_ONLY_VALUE", None),
            ("contacts", "createdate", "1", "READ_ONLY_VALUE", None),
            ("contacts", "jobtitle", "x" * 65_537, "VALUE_TOO_LONG", None),
            ("lms_completion", "lms_score", "high", "INVALID_INTEGER", "high was not a valid number."),
            ("lms_completion", "lms_score", " 5", "INVALID_INTEGER", " 5 was not a valid number."),
            ("lms_completion", "lms_score", "NaN", "INVALID_NUMBER", None),
            ("lms_completion", "lms_completed_at", "2026-11-22", "INVALID_LONG", "2026-11-22 was not a valid long."),
            ("lms_completion", "lms_completed_at", "2026-11-22T22:50:00", "INVALID_LONG", None),
            ("lms_completion", "lms_completed_at", "2026-13-22T22:50:00Z", "INVALID_LONG", None),
            ("lms_competency", "lms_proficient", "True", "INVALID_OPTION", None),
        ],
    )  # fmt: skip
    def test_bad_values_are_refused_by_code(
        self, http: httpx.Client, path: str, name: str, sent: str, code: str, message: str | None
    ) -> None:
        body = refusal(http.post(f"/crm/v3/objects/{path}", json={"properties": {name: sent}}), 400)
        assert codes(body) == [code]
        [error] = body["errors"]
        assert (error["code"], error["context"], body["category"]) == (
            code,
            {"propertyName": [name]},
            "VALIDATION_ERROR",
        )
        assert message in {None, error["message"]}

    def test_dates_are_midnight_utc(self, http: httpx.Client) -> None:
        define(http, "contacts", name="lms_birthday", type="date", fieldType="date")
        for sent in ("2026-11-22", "1795305600000", "2026-11-22T00:00:00Z"):
            made = http.post(CONTACTS, json={"properties": {"lms_birthday": sent}})
            assert made.json()["properties"]["lms_birthday"] == "2026-11-22"
        body = refusal(http.post(CONTACTS, json={"properties": {"lms_birthday": "1579179660000"}}), 400)
        assert body["errors"][0]["message"] == "1579179660000 is at 13:1:0.0 UTC, not midnight!"
        assert codes(body) == ["INVALID_DATE"]
        assert codes(refusal(http.post(CONTACTS, json={"properties": {"lms_birthday": "soon"}}), 400)) == [
            "INVALID_DATE"
        ]

    def test_many_choices(self, http: httpx.Client) -> None:
        options = [{"label": name, "value": name} for name in "ab"]
        define(http, "contacts", name="lms_tags", type="enumeration", fieldType="checkbox", options=options)
        assert http.post(CONTACTS, json={"properties": {"lms_tags": "b;a"}}).json()["properties"]["lms_tags"] == "b;a"
        assert codes(refusal(http.post(CONTACTS, json={"properties": {"lms_tags": "a;c"}}), 400)) == ["INVALID_OPTION"]

    def test_every_bad_value_is_listed(self, http: httpx.Client) -> None:
        body = refusal(http.post(CONTACTS, json={"properties": {"x": "1", "email": "no"}}), 400)
        assert codes(body) == ["PROPERTY_DOESNT_EXIST", "INVALID_EMAIL"]

    def test_an_empty_text_clears(self, http: httpx.Client) -> None:
        number = create(http, CONTACTS, email="a@example.com", lms_user_id="1", phone="1")
        http.patch(f"{CONTACTS}/{number}", json={"properties": {"email": "", "phone": ""}})
        [stored] = http.get("/_sandbox/records/contacts").json()["records"]
        assert stored["properties"] == {"lms_user_id": "1"}
        create(http, CONTACTS, email="a@example.com")


class TestBatches:
    UPSERT = f"{CONTACTS}/batch/upsert"

    def test_the_vendors_client_upserts(self, hubspot: Any, http: httpx.Client) -> None:
        inputs = [upsert(str(n), email=f"U{n}@Example.com", lms_status="active", trace=f"t{n}") for n in range(100)]
        body = BatchInputSimplePublicObjectBatchInputUpsert(inputs=inputs)
        api = hubspot.crm.objects.batch_api
        first = api.upsert("contacts", body)
        assert {one.new for one in first.results} == {True}
        assert [one.properties["lms_user_id"] for one in first.results] != [str(n) for n in range(100)]
        assert {one.properties["lms_user_id"] for one in first.results} == {str(n) for n in range(100)}
        for one in first.results:
            assert one.properties["email"] == f"u{one.properties['lms_user_id']}@example.com"
            assert one.object_write_trace_id == f"t{one.properties['lms_user_id']}"
        second = api.upsert("contacts", body)
        assert {one.new for one in second.results} == {False}
        assert [one.id for one in second.results] == [one.id for one in first.results]
        assert stats(http)["contacts"] == {"created": 100, "unchanged": 100}

    def test_more_than_100_inputs_are_refused(self, http: httpx.Client) -> None:
        body = refusal(http.post(self.UPSERT, json={"inputs": [upsert(str(n)) for n in range(101)]}), 400)
        assert body["message"].startswith("The maximum number of inputs supported in a batch is 100.")

    def test_without_trace_ids_one_bad_record_rejects_the_batch(self, hubspot: Any, http: httpx.Client) -> None:
        body = BatchInputSimplePublicObjectBatchInputUpsert(inputs=[upsert("1"), upsert("2", missing="x")])
        with pytest.raises(ApiException) as raised:
            hubspot.crm.objects.batch_api.upsert("contacts", body)
        assert raised.value.status == 400
        assert codes(json.loads(raised.value.body)) == ["PROPERTY_DOESNT_EXIST"]
        assert http.get("/_sandbox/records/contacts").json()["total"] == 0
        assert stats(http)["contacts"] == {"rejected": 2}

    def test_trace_ids_that_repeat_do_not_count(self, http: httpx.Client) -> None:
        inputs = [upsert("1", trace="t"), upsert("2", trace="t", missing="x")]
        assert http.post(self.UPSERT, json={"inputs": inputs}).status_code == 400

    def test_with_trace_ids_the_good_records_are_written(self, hubspot: Any, http: httpx.Client) -> None:
        inputs = [upsert("1", trace="a"), upsert("2", trace="b", missing="x"), upsert("3", trace="c")]
        answer = hubspot.crm.objects.batch_api.upsert("contacts", {"inputs": inputs})
        assert {one.object_write_trace_id for one in answer.results} == {"a", "c"}
        assert answer.num_errors == 1
        raw = post(http, self.UPSERT, *inputs, status=207)
        [error] = raw["errors"]
        assert error["context"] == {"objectWriteTraceId": ["b"]}
        assert (error["status"], error["category"], codes(error)) == (
            "error",
            "VALIDATION_ERROR",
            ["PROPERTY_DOESNT_EXIST"],
        )
        assert stats(http)["contacts"] == {"created": 2, "unchanged": 2, "rejected": 2}

    def test_2026_09_answers_200_with_errors(self, http: httpx.Client) -> None:
        inputs = [upsert("1", trace="a"), upsert("2", trace="b", missing="x")]
        body = post(http, "/crm/objects/2026-09/contacts/batch/upsert", *inputs, status=200)
        assert (len(body["results"]), body["numErrors"], len(body["errors"])) == (1, 1, 1)
        post(http, "/crm/objects/2026-03/contacts/batch/upsert", *inputs, status=207)

    def test_an_id_twice_is_refused(self, http: httpx.Client) -> None:
        body = refusal(http.post(self.UPSERT, json={"inputs": [upsert("1", trace="a"), upsert("1", trace="b")]}), 400)
        assert body["message"] == "Duplicate IDs found in batch input: [1]. IDs must be unique"
        assert (body["context"], body["category"]) == ({"ids": ["1"]}, "VALIDATION_ERROR")

    def test_the_key_must_be_unique(self, http: httpx.Client) -> None:
        body = refusal(http.post(self.UPSERT, json={"inputs": [upsert("1", "phone")]}), 400)
        assert (
            body["message"] == "Unable to perform update/upsert by non-unique 0-1 property phone in portal ID 12345678"
        )
        body = refusal(http.post(self.UPSERT, json={"inputs": [upsert("1", "hs_object_id")]}), 400)
        assert "non-unique 0-1 property hs_object_id" in body["message"]
        body = refusal(http.post(self.UPSERT, json={"inputs": [{"id": "1", "properties": {}}]}), 400)
        assert body["message"].endswith("Some required fields were not set: [idProperty]")
        body = refusal(http.post(self.UPSERT, json={"inputs": [upsert("")]}), 400)
        assert body["message"].endswith("Some required fields were not set: [id]")

    def test_by_email_there_is_no_partial_upsert(self, http: httpx.Client) -> None:
        inputs = [upsert("A@example.com", "email", trace="a"), upsert("b@example.com", "email", trace="b", missing="x")]
        assert codes(refusal(http.post(self.UPSERT, json={"inputs": inputs}), 400)) == ["PROPERTY_DOESNT_EXIST"]
        post(http, self.UPSERT, inputs[0])
        [result] = post(http, self.UPSERT, upsert("a@EXAMPLE.com", "email", firstname="Ann"))["results"]
        assert (result["new"], result["properties"]["email"]) == (False, "a@example.com")

    def test_an_address_of_another_contact_is_a_conflict(self, http: httpx.Client) -> None:
        number = create(http, CONTACTS, email="a@example.com")
        given = upsert("1", trace="t", email="a@example.com")
        [error] = post(http, self.UPSERT, given, status=207)["errors"]
        assert error["category"] == "CONFLICT"
        assert error["message"] == f"Contact already exists. Existing ID: {number}"
        assert error["context"] == {"existingId": [number], "objectWriteTraceId": ["t"]}
        del given["objectWriteTraceId"]
        assert refusal(http.post(self.UPSERT, json={"inputs": [given]}), 409)["category"] == "CONFLICT"

    def test_two_inputs_of_a_batch_can_conflict(self, http: httpx.Client) -> None:
        inputs = [upsert(str(n), trace=str(n), email="a@example.com") for n in range(2)]
        body = post(http, self.UPSERT, *inputs, status=207)
        [error] = body["errors"]
        assert error["message"] == f"Contact already exists. Existing ID: {body['results'][0]['id']}"

    def test_create_and_update(self, hubspot: Any, http: httpx.Client) -> None:
        made = hubspot.crm.objects.batch_api.create(
            "lms_completion", {"inputs": [{"properties": {"lms_completion_id": "1"}}]}
        )
        number = made.results[0].id
        path = "/crm/v3/objects/lms_completion/batch/update"
        [result] = post(http, path, {"id": number, "properties": {"lms_progress": "50.0"}})["results"]
        assert result["properties"]["lms_progress"] == "50"
        post(http, path, {"id": "1", "idProperty": "lms_completion_id", "properties": {"lms_progress": "60"}})
        body = post(http, path, {"id": "9", "properties": {"lms_progress": "1"}}, {"id": number, "properties": {"lms_progress": "2"}}, status=207)  # fmt: skip
        assert len(body["results"]) == 1
        assert (body["errors"][0]["category"], body["errors"][0]["context"]) == ("OBJECT_NOT_FOUND", {"ids": ["9"]})
        post(http, "/crm/v3/objects/lms_completion/batch/create", {"properties": {}}, status=201)

    def test_read_misses_are_listed(self, hubspot: Any, http: httpx.Client) -> None:
        create(http, CONTACTS, lms_user_id="1", firstname="Ann")
        body = BatchReadInputSimplePublicObjectId(
            id_property="lms_user_id",
            inputs=[{"id": "1"}, {"id": "2"}],
            properties=["firstname"],
            properties_with_history=[],
        )
        answer = hubspot.crm.objects.batch_api.read("contacts", body)
        assert (answer.results[0].properties["firstname"], answer.num_errors) == ("Ann", 1)
        raw = post(http, f"{CONTACTS}/batch/read", {"id": "1"}, {"id": "2"}, idProperty="lms_user_id", status=207)
        [error] = raw["errors"]
        assert (error["category"], error["context"]) == ("OBJECT_NOT_FOUND", {"ids": ["2"]})
        assert error["message"].startswith("Could not get some CONTACT objects, they may be deleted or not exist.")
        post(http, f"{CONTACTS}/batch/read", *({"id": str(n)} for n in range(101)), status=400)
        post(http, f"{CONTACTS}/batch/read", {"id": "1"}, idProperty="phone", status=400)

    def test_archive_is_quiet(self, http: httpx.Client) -> None:
        number = create(http, CONTACTS, lms_user_id="1")
        post(http, f"{CONTACTS}/batch/archive", {"id": number}, {"id": "5"}, status=204)
        [result] = post(http, self.UPSERT, upsert("1"))["results"]
        assert result["new"] is True
        assert result["id"] != number


class TestSearch:
    PATH = f"{CONTACTS}/search"

    def found(self, http: httpx.Client, *filters: dict[str, Any], **more: Any) -> list[str]:
        body = {"filterGroups": [{"filters": list(filters)}] if filters else [], "properties": ["firstname"], **more}
        response = http.post(self.PATH, json=body)
        assert response.status_code == 200, response.text
        return [one["properties"]["firstname"] for one in response.json()["results"]]

    @pytest.fixture
    def people(self, http: httpx.Client) -> None:
        define(http, "contacts", name="lms_points", type="number", fieldType="number")
        inputs = [
            upsert(str(n), firstname=name, email=f"{name}@example.com", lms_points=str(n * 5), **more)
            for n, (name, more) in enumerate([("Ann", {"phone": "1"}), ("Bo", {}), ("Cy", {})])
        ]
        post(http, f"{CONTACTS}/batch/upsert", *inputs)

    @pytest.mark.usefixtures("people")
    @pytest.mark.parametrize(
        ("given", "names"),
        [
            ({"propertyName": "firstname", "operator": "EQ", "value": "ann"}, ["Ann"]),
            ({"propertyName": "firstname", "operator": "NEQ", "value": "ann"}, ["Bo", "Cy"]),
            ({"propertyName": "lms_points", "operator": "LT", "value": "10"}, ["Ann", "Bo"]),
            ({"propertyName": "lms_points", "operator": "LTE", "value": "5"}, ["Ann", "Bo"]),
            ({"propertyName": "lms_points", "operator": "GT", "value": "5"}, ["Cy"]),
            ({"propertyName": "lms_points", "operator": "GTE", "value": "5"}, ["Bo", "Cy"]),
            ({"propertyName": "lms_points", "operator": "BETWEEN", "value": "5", "highValue": "9"}, ["Bo"]),
            ({"propertyName": "firstname", "operator": "IN", "values": ["ann", "cy"]}, ["Ann", "Cy"]),
            ({"propertyName": "email", "operator": "IN", "values": ["ANN@example.com", "x"]}, ["Ann"]),
            ({"propertyName": "firstname", "operator": "NOT_IN", "values": ["ann", "cy"]}, ["Bo"]),
            ({"propertyName": "phone", "operator": "HAS_PROPERTY"}, ["Ann"]),
            ({"propertyName": "phone", "operator": "NOT_HAS_PROPERTY"}, ["Bo", "Cy"]),
            ({"propertyName": "email", "operator": "CONTAINS_TOKEN", "value": "bo"}, ["Bo"]),
            ({"propertyName": "email", "operator": "CONTAINS_TOKEN", "value": "*@example.com"}, ["Ann", "Bo", "Cy"]),
            ({"propertyName": "email", "operator": "NOT_CONTAINS_TOKEN", "value": "bo"}, ["Ann", "Cy"]),
            ({"propertyName": "lastmodifieddate", "operator": "GTE", "value": "2020-01-01T00:00:00Z"}, ["Ann", "Bo", "Cy"]),
            ({"propertyName": "lastmodifieddate", "operator": "LT", "value": "1577836800000"}, []),
        ],
    )  # fmt: skip
    def test_operators(self, http: httpx.Client, given: dict[str, Any], names: list[str]) -> None:
        assert self.found(http, given) == names

    @pytest.mark.usefixtures("people")
    def test_the_vendors_client_pages_and_sorts(self, hubspot: Any) -> None:
        request = PublicObjectSearchRequest(
            filter_groups=[], sorts=["-lms_points"], properties=["firstname"], limit=2, after="0"
        )
        api = hubspot.crm.objects.search_api
        page = api.do_search("contacts", request)
        assert (page.total, [one.properties["firstname"] for one in page.results]) == (3, ["Cy", "Bo"])
        request.after = page.paging.next.after
        assert [one.properties["firstname"] for one in api.do_search("contacts", request).results] == ["Ann"]

    @pytest.mark.usefixtures("people")
    def test_groups_are_alternatives_and_sorts_can_be_objects(self, http: httpx.Client) -> None:
        groups = [{"filters": [{"propertyName": "lms_user_id", "operator": "EQ", "value": key}]} for key in "02"]
        sorts = [{"propertyName": "firstname", "direction": "DESCENDING"}]
        assert self.found(http, filterGroups=groups, sorts=sorts) == ["Cy", "Ann"]
        assert self.found(http, query="Bo") == ["Bo"]

    @pytest.mark.parametrize(
        "body",
        [
            {"limit": 201},
            {"after": "9999", "limit": 2},
            {"filterGroups": [{"filters": []}] * 6},
            {"filterGroups": [{"filters": [{"propertyName": "phone", "operator": "HAS_PROPERTY"}] * 7}]},
            {"filterGroups": [{"filters": [{"propertyName": "phone", "operator": "LIKE", "value": "1"}]}]},
            {"filterGroups": [{"filters": [{"propertyName": "nothing", "operator": "HAS_PROPERTY"}]}]},
            {"filterGroups": [{"filters": [{"propertyName": "phone", "operator": "EQ"}]}]},
            {"filters": []},
            {"sorts": ["phone", "email"]},
        ],
    )
    def test_bad_searches(self, http: httpx.Client, body: dict[str, Any]) -> None:
        assert refusal(http.post(self.PATH, json=body), 400)["category"] == "VALIDATION_ERROR"

    def test_the_10000th_result_is_the_last(self, http: httpx.Client) -> None:
        assert http.post(self.PATH, json={"after": "9800", "limit": 200}).status_code == 200

    def test_the_index_lags(self, http: httpx.Client) -> None:
        reset(http, search_lag_seconds=60)
        number = create(http, CONTACTS, firstname="Ann")
        assert self.found(http) == []
        assert http.get(f"{CONTACTS}/{number}").status_code == 200

    def test_the_index_shows_a_record_as_it_was_for_a_while(self, http: httpx.Client) -> None:
        reset(http, search_lag_seconds=0.3, searches_per_second=None)
        number = create(http, CONTACTS, firstname="Ann")
        assert eventually(lambda: self.found(http) == ["Ann"])
        http.patch(f"{CONTACTS}/{number}", json={"properties": {"firstname": "Bea"}})
        assert self.found(http) == ["Ann"]
        assert eventually(lambda: self.found(http) == ["Bea"])


class TestDefinitions:
    def test_the_vendors_client_reads_properties(self, hubspot: Any) -> None:
        api = hubspot.crm.properties.core_api
        known = {one.name: one for one in api.get_all("contacts").results}
        assert known["lms_user_id"].has_unique_value
        assert known["hs_object_id"].modification_metadata.read_only_value
        assert [option.value for option in known["lms_status"].options] == ["active", "suspended"]
        assert api.get_by_name("0-410", "lms_starts_at").type == "datetime"

    def test_dated_paths(self, http: httpx.Client) -> None:
        listed = http.get("/crm/properties/2026-09/lms_enrollment").json()["results"]
        assert {"lms_enrollment_id", "hs_lastmodifieddate"} <= {one["name"] for one in listed}
        assert refusal(http.get("/crm/properties/2026-09/contacts/nothing"), 404)["category"] == "OBJECT_NOT_FOUND"

    def test_a_new_unique_property_is_a_key(self, http: httpx.Client) -> None:
        made = define(http, "courses", name="sis_id", type="string", fieldType="text", hasUniqueValue=True)
        assert (made.status_code, made.json()["hasUniqueValue"]) == (201, True)
        assert refusal(define(http, "courses", name="sis_id", type="string", fieldType="text"), 409)
        post(http, f"{COURSES}/batch/upsert", upsert("1", "sis_id", hs_course_name="A"))

    def test_uniqueness_is_for_creation_and_for_ten(self, http: httpx.Client) -> None:
        path = "/crm/v3/properties/contacts/lms_username"
        assert (
            'Unrecognized field "hasUniqueValue"'
            in refusal(http.patch(path, json={"hasUniqueValue": True}), 400)["message"]
        )
        assert http.patch(path, json={"label": "User"}).json()["label"] == "User"
        assert http.patch("/crm/v3/properties/contacts/email", json={"label": "x"}).status_code == 400
        text = {"type": "string", "fieldType": "text", "groupName": "contactinformation", "hasUniqueValue": True}
        inputs = [{**text, "name": f"key{n}", "label": "K"} for n in range(10)]
        post(http, "/crm/v3/properties/contacts/batch/create", *inputs, status=400)
        post(http, "/crm/v3/properties/contacts/batch/create", *inputs[:9], status=201)

    @pytest.mark.parametrize(
        "more",
        [{"type": "text"}, {"fieldType": "x"}, {"type": "enumeration"}, {"type": "bool", "hasUniqueValue": True}],
    )
    def test_bad_definitions(self, http: httpx.Client, more: dict[str, Any]) -> None:
        assert refusal(define(http, "contacts", **{"name": "x", "type": "string", "fieldType": "text", **more}), 400)

    def test_schemas(self, hubspot: Any, http: httpx.Client) -> None:
        listed = hubspot.crm.schemas.core_api.get_all().results
        assert [one.name for one in listed] == ["lms_enrollment", "lms_completion", "lms_competency"]
        assert listed[0].fully_qualified_name == "p12345678_lms_enrollment"
        assert http.get("/crm/v3/schemas").json() == http.get("/crm-object-schemas/2026-03/schemas").json()
        assert hubspot.crm.schemas.core_api.get_by_id("courses").required_properties == ["hs_course_name"]

    def test_a_new_custom_object_can_be_used_at_once(self, http: httpx.Client) -> None:
        key = {"name": "badge_id", "label": "Badge", "type": "string", "fieldType": "text", "hasUniqueValue": True}
        given = {
            "name": "badge",
            "labels": {"singular": "Badge", "plural": "Badges"},
            "primaryDisplayProperty": "badge_id",
            "requiredProperties": ["badge_id"],
            "properties": [key],
            "associatedObjects": ["CONTACT"],
        }
        made = http.post("/crm/v3/schemas", json=given)
        assert (made.status_code, made.json()["objectTypeId"]) == (201, "2-1004")
        assert refusal(http.post("/crm/v3/schemas", json=given), 409)
        post(http, "/crm/v3/objects/badge/batch/upsert", upsert("1", "badge_id"))
        assert len(http.get("/crm/v4/associations/badge/contacts/labels").json()["results"]) == 1


class TestAssociations:
    @pytest.fixture
    def pair(self, http: httpx.Client) -> tuple[str, str]:
        return create(http, ENROLLMENTS, lms_enrollment_id="1"), create(http, CONTACTS, email="a@example.com")

    @pytest.fixture
    def spec(self, http: httpx.Client) -> dict[str, Any]:
        [kind] = http.get(f"{LINKS}/labels").json()["results"]
        return {"associationCategory": kind["category"], "associationTypeId": kind["typeId"]}

    def test_the_vendors_client_links(
        self, hubspot: Any, http: httpx.Client, pair: tuple[str, str], spec: dict[str, Any]
    ) -> None:
        api = hubspot.crm.associations.v4.batch_api
        link = PublicAssociationMultiPost(_from={"id": pair[0]}, to={"id": pair[1]}, types=[spec])
        answer = api.create("lms_enrollment", "contacts", BatchInputPublicAssociationMultiPost(inputs=[link]))
        assert (answer.results[0].from_object_id, answer.results[0].to_object_id) == pair
        read = api.get_page("contacts", "lms_enrollment", {"inputs": [{"id": pair[1]}]})
        assert read.results[0].to[0].to_object_id == pair[0]
        [linked] = hubspot.crm.associations.v4.basic_api.get_page("lms_enrollment", pair[0], "contacts").results
        assert linked.association_types[0].type_id == spec["associationTypeId"]
        api.create("lms_enrollment", "contacts", BatchInputPublicAssociationMultiPost(inputs=[link]))
        api.archive("lms_enrollment", "contacts", {"inputs": [{"from": {"id": pair[0]}, "to": [{"id": pair[1]}]}]})
        assert stats(http)["associations"] == {"created": 1, "unchanged": 1, "archived": 1}

    def test_default_links_show_both_directions(self, hubspot: Any, http: httpx.Client, pair: tuple[str, str]) -> None:
        given = {"inputs": [{"from": {"id": pair[0]}, "to": {"id": pair[1]}}]}
        answer = hubspot.crm.associations.v4.batch_api.create_default("lms_enrollment", "contacts", given)
        assert [one.to.id for one in answer.results] == [pair[1], pair[0]]
        course = create(http, COURSES, hs_course_name="A")
        hubspot.crm.associations.v4.basic_api.create_default("lms_enrollment", pair[0], "courses", course)
        [stored] = http.get("/_sandbox/records/lms_enrollment").json()["records"]
        assert stored["associations"] == {"contacts": [pair[1]], "courses": [course]}

    def test_unknown_records_are_refused(self, http: httpx.Client, pair: tuple[str, str], spec: dict[str, Any]) -> None:
        good = {"from": {"id": pair[0]}, "to": {"id": pair[1]}, "types": [spec]}
        bad = {**good, "to": {"id": "424242"}}
        body = refusal(http.post(f"{LINKS}/batch/create", json={"inputs": [bad]}), 400)
        assert body["message"] == "One or more associations are invalid"
        assert body["context"]["INVALID_OBJECT_IDS"] == ["CONTACT=424242 is not valid"]
        body = post(http, f"{LINKS}/batch/create", good, bad, status=207)
        assert (len(body["results"]), body["numErrors"]) == (1, 1)
        assert body["errors"][0]["category"] == "VALIDATION_ERROR"

    @pytest.mark.parametrize("number", [1, 279])
    def test_types_must_fit_the_objects(self, http: httpx.Client, pair: tuple[str, str], number: int) -> None:
        spec = {"associationCategory": "USER_DEFINED", "associationTypeId": number}
        given = {"from": {"id": pair[0]}, "to": {"id": pair[1]}, "types": [spec]}
        body = refusal(http.post(f"{LINKS}/batch/create", json={"inputs": [given]}), 400)
        assert body["context"]["INVALID_ASSOCIATION_TYPE_ID"] == [
            f"USER_DEFINED={number} is not a valid association definition id"
        ]

    @pytest.mark.parametrize(
        "given",
        [
            {"from": {"id": "1"}, "to": {"id": "2"}},
            {"from": "1", "to": {"id": "2"}, "types": []},
            {"from": {"id": 1}, "to": {"id": "2"}, "types": []},
            {"from": {"id": "1"}, "to": {"id": "2"}, "types": [{"typeId": 1}]},
            {"from": {"id": "1"}, "to": {"id": "2"}, "types": [], "label": "x"},
        ],
    )
    def test_other_shapes_are_refused(self, http: httpx.Client, given: dict[str, Any]) -> None:
        body = refusal(http.post(f"{LINKS}/batch/create", json={"inputs": [given]}), 400)
        assert body["message"].startswith("Invalid input JSON on line 1, column ")

    def test_batches_are_bounded(self, http: httpx.Client) -> None:
        default = [{"from": {"id": "1"}, "to": {"id": "2"}}] * 2001
        post(http, f"{LINKS}/batch/associate/default", *default, status=400)
        post(http, f"{LINKS}/batch/create", *({**one, "types": []} for one in default), status=400)
        post(http, f"{LINKS}/batch/read", *[{"id": "1"}] * 1001, status=400)

    def test_a_record_without_links_is_an_entry(self, http: httpx.Client, pair: tuple[str, str]) -> None:
        body = post(http, "/crm/associations/2026-09/0-1/2-1001/batch/read", {"id": pair[1]}, status=207)
        [error] = body["errors"]
        assert (error["category"], error["subCategory"]) == (
            "OBJECT_NOT_FOUND",
            "crm.associations.NO_ASSOCIATIONS_FOUND",
        )
        assert error["context"]["fromObjectId"] == [pair[1]]

    def test_links_of_an_archived_record_are_hidden(self, http: httpx.Client, pair: tuple[str, str]) -> None:
        path = f"/crm/v4/objects/contacts/{pair[1]}/associations/lms_enrollment"
        http.put(f"/crm/v4/objects/lms_enrollment/{pair[0]}/associations/default/contacts/{pair[1]}")
        assert len(http.get(path).json()["results"]) == 1
        http.delete(f"{ENROLLMENTS}/{pair[0]}")
        assert http.get(path).json()["results"] == []
        mutate(http, {"object": "lms_enrollment", "op": "restore", "id": pair[0]})
        assert len(http.get(path).json()["results"]) == 1

    def test_one_link_at_a_time(self, http: httpx.Client, pair: tuple[str, str], spec: dict[str, Any]) -> None:
        path = f"/crm/objects/2026-03/lms_enrollment/{pair[0]}/associations/contacts/{pair[1]}"
        assert http.put(path, json=[spec]).status_code == 201
        assert http.delete(path).status_code == 204
        assert http.get(f"/crm/v4/objects/lms_enrollment/{pair[0]}/associations/contacts").json()["results"] == []

    def test_many_links_are_paged(self, http: httpx.Client) -> None:
        contact = create(http, CONTACTS, email="a@example.com")
        made = [create(http, ENROLLMENTS, lms_enrollment_id=str(n)) for n in range(3)]
        post(http, f"{LINKS}/batch/associate/default", *({"from": {"id": one}, "to": {"id": contact}} for one in made))
        path = f"/crm/v4/objects/contacts/{contact}/associations/lms_enrollment"
        page = http.get(f"{path}?limit=2").json()
        rest = http.get(f"{path}?limit=2&after={page['paging']['next']['after']}").json()
        assert [one["toObjectId"] for one in (*page["results"], *rest["results"])] == made
        assert "paging" not in rest


class TestLimits:
    def test_the_window_is_told_in_headers_and_refuses(self, http: httpx.Client) -> None:
        reset(http, requests_per_10_seconds=3)
        answers = [http.get(CONTACTS) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["X-HubSpot-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
        headers = answers[0].headers
        assert headers["X-HubSpot-RateLimit-Max"] == "3"
        assert headers["X-HubSpot-RateLimit-Interval-Milliseconds"] == "10000"
        assert (headers["X-HubSpot-RateLimit-Daily"], headers["X-HubSpot-RateLimit-Daily-Remaining"]) == (
            "1000000",
            "999999",
        )
        assert refusal(answers[3], 429) == {
            "status": "error",
            "message": "You have reached your ten_secondly_rolling limit.",
            "errorType": "RATE_LIMIT",
            "policyName": "TEN_SECONDLY_ROLLING",
        }
        assert "retry-after" not in answers[3].headers

    def test_oauth_apps_have_their_own_window_and_no_daily_headers(self, http: httpx.Client) -> None:
        reset(http, requests_per_10_seconds=1)
        token = grant(http, grant_type="client_credentials").json()["access_token"]
        assert http.get(CONTACTS).status_code == 200
        answer = http.get(CONTACTS, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
        assert "X-HubSpot-RateLimit-Daily" not in answer.headers

    def test_the_day(self, http: httpx.Client) -> None:
        reset(http, daily_limit=1)
        http.get(CONTACTS)
        body = refusal(http.get(CONTACTS), 429)
        assert (body["policyName"], body["message"]) == ("DAILY", "You have reached your daily limit.")

    def test_five_searches_a_second_without_headers(self, http: httpx.Client) -> None:
        reset(http, searches_per_second=5)
        answers = [http.post(f"{CONTACTS}/search", json={}) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert not [name for name in answers[5].headers if name.startswith("x-hubspot-ratelimit")]
        assert refusal(answers[5], 429)["policyName"] == "SECONDLY"

    def test_associations_have_a_limit_of_their_own(self, http: httpx.Client) -> None:
        reset(http, associations_per_10_seconds=2)
        assert [http.get(f"{LINKS}/labels").status_code for _ in range(3)] == [200, 200, 429]
        assert http.get(CONTACTS).status_code == 200

    def test_the_window_rolls(self) -> None:
        now = 0.0
        limits = Limits(Options(requests_per_10_seconds=2), clock=lambda: now)
        limits.admit("private", "general")
        now = 9.0
        limits.admit("private", "general")
        with pytest.raises(HubSpotError, match="ten_secondly_rolling"):
            limits.admit("private", "general")
        now = 10.0
        assert limits.admit("private", "general")["X-HubSpot-RateLimit-Remaining"] == "0"
        with pytest.raises(HubSpotError):
            limits.admit("private", "general")


class TestControl:
    def test_records_are_shown_as_stored(self, http: httpx.Client) -> None:
        create(http, CONTACTS, email="A@example.com")
        body = http.get("/_sandbox/records/0-1").json()
        [record] = body["records"]
        assert record.keys() == {"id", "properties", "archived", "createdAt", "updatedAt", "associations"}
        assert record["properties"] == {"email": "a@example.com"}
        assert http.get("/_sandbox/records/nothing").status_code == 400

    def test_changes_behind_the_clients_backs(self, http: httpx.Client) -> None:
        contact = mutate(http, {"object": "contacts", "op": "create", "properties": {"lms_user_id": "1"}})
        named = {"object": "contacts", "idProperty": "lms_user_id", "key": "1"}
        assert mutate(http, {**named, "op": "update", "properties": {"phone": "1"}})["properties"]["phone"] == "1"
        enrollment = mutate(http, {"object": "lms_enrollment", "op": "create", "properties": {}})
        link = {"object": "lms_enrollment", "id": enrollment["id"], "to": named}
        assert mutate(http, {**link, "op": "associate"})["associations"]["contacts"] == [contact["id"]]
        assert mutate(http, {**link, "op": "dissociate"})["associations"]["contacts"] == []
        assert mutate(http, {**named, "op": "archive"})["archived"] is True
        assert mutate(http, {"object": "contacts", "op": "restore", "id": contact["id"]})["archived"] is False
        assert stats(http) == {}

    def test_a_record_whose_key_was_taken_stays_archived(self, http: httpx.Client) -> None:
        number = create(http, CONTACTS, email="a@example.com")
        http.delete(f"{CONTACTS}/{number}")
        create(http, CONTACTS, email="a@example.com")
        restore = {"object": "contacts", "op": "restore", "id": number}
        assert http.post("/_sandbox/mutate", json=restore).status_code == 400

    def test_a_merged_record_lives_on_in_the_other(self, http: httpx.Client) -> None:
        loser = create(http, CONTACTS, email="a@example.com", lms_user_id="1", phone="1")
        winner = create(http, CONTACTS, lms_user_id="2", firstname="Ann")
        enrollment = create(http, ENROLLMENTS, lms_enrollment_id="1")
        mutate(
            http,
            {"object": "lms_enrollment", "op": "associate", "id": enrollment, "to": {"object": "0-1", "id": loser}},
        )
        merged = mutate(http, {"object": "contacts", "op": "merge", "id": loser, "into": {"id": winner}})
        assert (merged["id"], merged["associations"]["lms_enrollment"]) == (winner, [enrollment])
        assert merged["properties"] == {
            "email": "a@example.com",
            "lms_user_id": "2",
            "phone": "1",
            "firstname": "Ann",
            "hs_merged_object_ids": loser,
        }
        assert http.get(f"{CONTACTS}/{loser}").json()["id"] == winner
        assert [one["id"] for one in http.get(CONTACTS).json()["results"]] == [winner]

    @pytest.mark.parametrize(
        "change",
        [
            {"object": "nothing", "op": "create"},
            {"object": "contacts", "op": "create"},
            {"object": "contacts", "op": "create", "properties": {"email": "no"}},
            {"object": "contacts", "op": "update", "id": "1", "properties": {}},
            {"object": "contacts", "op": "update", "idProperty": "phone", "key": "1"},
        ],
    )
    def test_senseless_changes_and_options_are_refused(self, http: httpx.Client, change: dict[str, Any]) -> None:
        assert http.post("/_sandbox/mutate", json=change).status_code == 400
        assert http.post("/_sandbox/reset", json={"speed": 1}).status_code == 400

    def test_a_dump_is_taken_up(self) -> None:
        first, second = HubSpotSimulator(), HubSpotSimulator()
        contact = first.mutate({"object": "contacts", "op": "create", "properties": {"email": "a@example.com"}})
        enrollment = first.mutate({"object": "lms_enrollment", "op": "create", "properties": {}})
        link = {"object": "lms_enrollment", "id": enrollment["id"], "op": "associate"}
        first.mutate({**link, "to": {"object": "contacts", "id": contact["id"]}})
        second.load(json.loads(json.dumps(first.dump())))
        for kind in ("contacts", "lms_enrollment"):
            assert list(second.records(kind)) == list(first.records(kind))
        by_mail = {"object": "contacts", "op": "archive", "idProperty": "email", "key": "A@example.com"}
        assert second.mutate(by_mail)["id"] == contact["id"]
        later = second.mutate({"object": "contacts", "op": "create", "properties": {}})
        assert int(later["id"]) > int(enrollment["id"])

    def test_latency_is_added(self, http: httpx.Client) -> None:
        reset(http, latency_seconds=0.05)
        assert http.get(CONTACTS).elapsed.total_seconds() >= 0.05

    def test_a_fault_of_the_lms_alone_is_refused(self, http: httpx.Client) -> None:
        answer = http.post("/_sandbox/faults", json=[{"route": "", "kind": "fewer"}])
        assert (answer.status_code, "only the simulated LMSs know" in answer.text) == (400, True)

    def test_faults_strike(self, http: httpx.Client) -> None:
        http.post("/_sandbox/faults", json=[{"route": "POST .*upsert", "kind": "status", "status": 502, "times": 1}])
        answers = [http.post(f"{CONTACTS}/batch/upsert", json={"inputs": [upsert("1")]}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [502, 200]
        counted = http.get("/_sandbox/stats").json()["requests"]
        assert counted["POST /crm/v3/objects/{type}/batch/upsert"] == {"502": 1, "200": 1}
