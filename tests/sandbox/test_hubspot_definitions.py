"""Definitions in the HubSpot simulator: property groups, properties, object schemas, association labels."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hubspot import HubSpot
from hubspot.crm.associations.v4.schema import PublicAssociationDefinitionCreateRequest
from hubspot.crm.properties import (
    BatchInputPropertyCreate,
    BatchReadInputPropertyName,
    PropertyCreate,
    PropertyGroupCreate,
    PropertyName,
)
from hubspot.crm.schemas import ObjectSchemaEgg, ObjectTypeDefinitionLabels, ObjectTypePropertyCreate

from lms_crm_assets.sandbox.hubspot import HubSpotSimulator
from lms_crm_assets.sandbox.hubspot.schema import Group
from tests.sandbox.hubspot_portal import (
    CONTACTS,
    ENROLLMENTS,
    LINKS,
    calling,
    codes,
    create,
    define,
    mutate,
    post,
    refusal,
    upsert,
    vendors_client,
)
from tests.simulator_server import serving

PROPERTIES = "/crm/v3/properties/contacts"
SCHEMAS = "/crm-object-schemas/v3/schemas"
TEXT = {"type": "string", "fieldType": "text"}
KEY = {"name": "badge_id", "label": "Badge", "hasUniqueValue": True, **TEXT}
BADGE = {
    "name": "badge",
    "labels": {"singular": "Badge", "plural": "Badges"},
    "requiredProperties": ["badge_id"],
    "primaryDisplayProperty": "badge_id",
    "properties": [KEY],
    "associatedObjects": ["CONTACT"],
}


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


class TestGroups:
    def test_the_vendors_client_makes_a_group_and_puts_properties_in(self, hubspot: Any) -> None:
        api = hubspot.crm.properties
        group = api.groups_api.create("contacts", PropertyGroupCreate(name="lms", label="LMS", display_order=2))
        assert (group.name, group.label, group.display_order, group.archived) == ("lms", "LMS", 2, False)
        assert [one.name for one in api.groups_api.get_all("contacts").results] == ["contactinformation", "lms"]
        inputs = [
            PropertyCreate(name=f"lms_{n}", label=str(n), group_name="lms", type="string", field_type="text")
            for n in range(2)
        ]
        made = api.batch_api.create("contacts", BatchInputPropertyCreate(inputs=inputs))
        assert {one.group_name for one in made.results} == {"lms"}
        single = PropertyCreate(name="lms_key", label="K", group_name="lms", type="string", field_type="text", has_unique_value=True)  # fmt: skip
        assert api.core_api.create("contacts", single).has_unique_value
        assert api.core_api.get_by_name("contacts", "lms_key").group_name == "lms"

    def test_a_property_needs_a_group_that_exists(self, http: httpx.Client) -> None:
        body = refusal(define(http, "contacts", name="x", groupName="nothing", **TEXT), 400)
        assert (body["category"], body["context"]) == ("VALIDATION_ERROR", {"groupName": ["nothing"]})
        given = {"name": "x", "label": "X", "groupName": "lms_enrollmentinformation", **TEXT}
        assert refusal(http.post("/crm/properties/2026-09/lms_enrollment", json=given), 400)
        given["groupName"] = "lms_enrollment_information"
        assert http.post("/crm/properties/2026-09/lms_enrollment", json=given).status_code == 201

    def test_life_of_a_group(self, http: httpx.Client) -> None:
        path = "/crm/properties/2026-03/contacts/groups"
        assert http.post(path, json={"name": "g", "label": "G"}).status_code == 201
        assert refusal(http.post(path, json={"name": "g", "label": "G"}), 409)["category"] == "OBJECT_ALREADY_EXISTS"
        assert http.patch(f"{path}/g", json={"label": "H"}).json()["label"] == "H"
        assert http.get(f"{PROPERTIES}/groups/g").json()["label"] == "H"
        assert refusal(http.delete(f"{path}/contactinformation"), 400)
        assert http.delete(f"{path}/g").status_code == 204
        assert refusal(http.get(f"{path}/g"), 404)


class TestProperties:
    def test_an_archived_property_is_gone_with_its_values(self, http: httpx.Client) -> None:
        number = create(http, CONTACTS, lms_username="ann")
        assert http.delete(f"{PROPERTIES}/lms_username").status_code == 204
        assert refusal(http.get(f"{PROPERTIES}/lms_username"), 404)
        assert "lms_username" not in http.get(f"{CONTACTS}/{number}?properties=lms_username").json()["properties"]
        answer = http.post(CONTACTS, json={"properties": {"lms_username": "x"}})
        assert codes(refusal(answer, 400)) == ["PROPERTY_DOESNT_EXIST"]
        [archived] = http.get(f"{PROPERTIES}?archived=true").json()["results"]
        assert (archived["name"], archived["archived"]) == ("lms_username", True)
        assert refusal(http.delete(f"{PROPERTIES}/email"), 400)

    def test_an_archived_key_is_no_key(self, http: httpx.Client) -> None:
        number = create(http, CONTACTS, lms_user_id="1")
        post(http, f"{PROPERTIES}/batch/archive", {"name": "lms_user_id"}, {"name": "nothing"}, status=204)
        assert refusal(http.post(f"{CONTACTS}/batch/upsert", json={"inputs": [upsert("1")]}), 400)
        define(http, "contacts", name="lms_user_id", hasUniqueValue=True, **TEXT)
        [result] = post(http, f"{CONTACTS}/batch/upsert", upsert("1"))["results"]
        assert (result["id"], result["new"]) == (number, False)

    def test_the_vendors_client_reads_a_batch(self, hubspot: Any, http: httpx.Client) -> None:
        given = BatchReadInputPropertyName(archived=False, inputs=[PropertyName(name="email")])
        assert hubspot.crm.properties.batch_api.read("contacts", given).results[0].name == "email"
        path = "/crm/properties/2026-09/contacts/batch/read"
        body = post(http, path, {"name": "email"}, {"name": "nothing"}, archived=False, status=207)
        assert (len(body["results"]), body["errors"][0]["category"]) == (1, "OBJECT_NOT_FOUND")


class TestSchemas:
    def test_the_vendors_client_makes_a_custom_object(self, hubspot: Any, http: httpx.Client) -> None:
        key = ObjectTypePropertyCreate(
            name="badge_id", label="Badge", type="string", field_type="text", has_unique_value=True
        )
        egg = ObjectSchemaEgg(
            name="badge",
            labels=ObjectTypeDefinitionLabels(singular="Badge", plural="Badges"),
            required_properties=["badge_id"],
            primary_display_property="badge_id",
            properties=[key],
            associated_objects=["CONTACT", "0-410"],
        )
        made = hubspot.crm.schemas.core_api.create(egg)
        assert (made.object_type_id, made.fully_qualified_name) == ("2-1004", "p12345678_badge")
        assert {one.group_name for one in made.properties} == {"badge_information"}
        [result] = post(http, "/crm/v3/objects/p_badge/batch/upsert", upsert("1", "badge_id"))["results"]
        read = hubspot.crm.schemas.core_api.get_by_id("p12345678_badge")
        assert read.required_properties == ["badge_id"]
        assert {one.to_object_type_id for one in read.associations} == {"0-1", "0-410", "2-1004"}
        assert refusal(http.delete(f"{SCHEMAS}/badge"), 400)
        http.delete(f"/crm/v3/objects/badge/{result['id']}")
        hubspot.crm.schemas.core_api.archive("badge")
        assert refusal(http.get(f"{SCHEMAS}/badge"), 400)
        assert http.get("/_sandbox/records/contacts").status_code == 200

    @pytest.mark.parametrize("path", [SCHEMAS, "/crm/v3/schemas", "/crm-object-schemas/2026-03/schemas", "/crm-object-schemas/2026-09/schemas"])  # fmt: skip
    def test_every_path(self, http: httpx.Client, path: str) -> None:
        assert http.post(path, json=BADGE).status_code == 201
        assert http.get(f"{path}/badge").json()["name"] == "badge"
        changed = http.patch(f"{path}/badge", json={"labels": {"plural": "B"}, "requiredProperties": []})
        assert changed.json()["labels"] == {"singular": "Badge", "plural": "B"}
        assert http.post("/crm/v3/objects/badge", json={"properties": {}}).status_code == 201
        assert refusal(http.patch(f"{path}/contacts", json={}), 404)

    @pytest.mark.parametrize(
        "more",
        [
            {"name": "1st"},
            {"name": "a-b"},
            {"requiredProperties": ["nothing"]},
            {"primaryDisplayProperty": "nothing"},
            {"associatedObjects": ["nothing"]},
            {"labels": "Badge"},
            {
                "properties": [{**KEY, "name": f"key{n}"} for n in range(11)],
                "requiredProperties": [],
            },
            {"unknown": 1},
        ],
    )
    def test_bad_schemas(self, http: httpx.Client, more: dict[str, Any]) -> None:
        assert refusal(http.post(SCHEMAS, json={**BADGE, **more}), 400)
        assert len(http.get(SCHEMAS).json()["results"]) == 3

    def test_two_objects_can_be_associated_later(self, http: httpx.Client) -> None:
        http.post(SCHEMAS, json=BADGE)
        given = {"fromObjectTypeId": "badge", "toObjectTypeId": "2-1001", "name": "badge_to_enrollment"}
        made = http.post(f"{SCHEMAS}/badge/associations", json=given)
        assert (made.status_code, made.json()["toObjectTypeId"]) == (201, "2-1001")
        [kind] = http.get("/crm/v4/associations/badge/lms_enrollment/labels").json()["results"]
        assert str(kind["typeId"]) == made.json()["id"]
        assert refusal(http.post(f"{SCHEMAS}/courses/associations", json=given), 400)

    def test_a_dump_keeps_groups_and_archived_properties(self) -> None:
        first, second = HubSpotSimulator(), HubSpotSimulator()
        contacts = first._store.schema.resolve("contacts")
        contacts.archived_properties["lms_country"] = contacts.properties.pop("lms_country")
        contacts.groups["lms"] = Group("LMS", 3)
        second.load(json.loads(json.dumps(first.dump())))
        assert second._store.schema.dump() == first._store.schema.dump()


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "/crm/objects/v3/contacts",
            "/crm/objects/2025-01/contacts",
            "/crm/properties/v3/contacts",
            "/crm/associations/v4/contacts/companies/labels",
            "/crm-object-schemas/v4/schemas",
            "/crm/object-library/v3/enablement",
        ],
    )
    def test_what_is_not_documented_is_not_there(self, http: httpx.Client, path: str) -> None:
        assert refusal(http.get(path), 404)["message"] == "resource not found"


class TestLabels:
    PATH = "/crm/v4/associations/contacts/companies/labels"

    def test_the_vendors_client_makes_a_label(self, hubspot: Any, http: httpx.Client) -> None:
        given = PublicAssociationDefinitionCreateRequest(name="billing", label="Billing", inverse_label="Billed by")
        made = hubspot.crm.associations.v4.schema.definitions_api.create("contacts", "companies", given)
        there, back = made.results
        assert [(one.label, one.category) for one in made.results] == [
            ("Billing", "USER_DEFINED"),
            ("Billed by", "USER_DEFINED"),
        ]
        assert [one["label"] for one in http.get(self.PATH).json()["results"]] == [None, "Billing"]
        dated = "/crm/associations/2026-09/companies/contacts/labels"
        assert [one["typeId"] for one in http.get(dated).json()["results"]] == [280, back.type_id]
        assert there.type_id != back.type_id

    def test_a_labelled_link_is_an_unlabelled_one_too(self, http: httpx.Client) -> None:
        [there, _] = http.post(self.PATH, json={"name": "b", "label": "B"}).json()["results"]
        contact, company = create(http, CONTACTS, email="a@example.com"), create(http, "/crm/v3/objects/0-2", name="A")
        link = {"from": {"id": contact}, "to": {"id": company}}
        spec = {"associationCategory": "USER_DEFINED", "associationTypeId": there["typeId"]}
        base = "/crm/v4/associations/contacts/companies/batch"
        body = post(http, f"{base}/create", {**link, "types": [spec]}, status=201)
        assert body["results"][0]["labels"] == ["B"]

        def labels(one: str, path: str) -> list[str | None]:
            [result] = post(http, f"/crm/v4/associations/{path}/batch/read", {"id": one})["results"]
            return [kind["label"] for kind in result["to"][0]["associationTypes"]]

        assert labels(contact, "contacts/companies") == labels(company, "companies/contacts") == [None, "B"]
        post(http, f"{base}/labels/archive", {**link, "types": [spec]}, status=204)
        assert labels(contact, "contacts/companies") == labels(company, "companies/contacts") == [None]

    def test_life_of_a_label(self, http: httpx.Client) -> None:
        given = {"name": "b", "label": "B"}
        [there, _] = http.post(self.PATH, json=given).json()["results"]
        assert refusal(http.post(self.PATH, json=given), 400)
        assert refusal(http.post(self.PATH, json={"name": "a-b", "label": "C"}), 400)
        change = {"associationTypeId": there["typeId"], "label": "C", "inverseLabel": "D"}
        assert http.put(self.PATH, json=change).status_code == 204
        assert [one["label"] for one in http.get(self.PATH).json()["results"]] == [None, "C"]
        enrollment = mutate(http, {"object": "companies", "op": "create", "properties": {"name": "A"}})["id"]
        contact = create(http, CONTACTS, email="a@example.com")
        spec = [{"associationCategory": "USER_DEFINED", "associationTypeId": there["typeId"]}]
        path = f"/crm/v4/objects/contacts/{contact}/associations/companies"
        assert http.put(f"{path}/{enrollment}", json=spec).status_code == 201
        assert http.delete(f"{self.PATH}/{there['typeId']}").status_code == 204
        [linked] = http.get(path).json()["results"]
        assert [kind["typeId"] for kind in linked["associationTypes"]] == [279]
        assert refusal(http.delete(f"{self.PATH}/279"), 404)

    def test_fifty_labels_between_two_objects(self, http: httpx.Client) -> None:
        answers = [http.post(f"{LINKS}/labels", json={"name": f"l{n}", "label": f"L{n}"}) for n in range(51)]
        assert [answer.status_code for answer in answers] == [200] * 50 + [400]
        number = create(http, ENROLLMENTS, lms_enrollment_id="1")
        contact = create(http, CONTACTS, email="a@example.com")
        given = {"from": {"id": number}, "to": {"id": contact}}
        [there, _] = post(http, f"{LINKS}/batch/associate/default", given)["results"]
        [unlabelled, *_] = http.get(f"{LINKS}/labels").json()["results"]
        assert there["associationSpec"]["associationTypeId"] == unlabelled["typeId"]
