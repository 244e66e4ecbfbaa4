"""The sandbox portal as an admin has set it up for an LMS: the objects and properties that exist from the start."""

from lms_crm_assets.sandbox.hubspot.schema import (
    AssociationType,
    ObjectType,
    Property,
    Schema,
    system_properties,
)

_STAGES = (
    "subscriber",
    "lead",
    "marketingqualifiedlead",
    "salesqualifiedlead",
    "opportunity",
    "customer",
    "evangelist",
    "other",
)


def _text(*names: str, unique: bool = False) -> list[Property]:
    return [Property(name, unique=unique) for name in names]


def _moments(*names: str) -> list[Property]:
    return [Property(name, "datetime", "date") for name in names]


def _choice(name: str, *options: str) -> Property:
    return Property(name, "enumeration", "select", options={option: option for option in options})


def _flag(name: str) -> Property:
    return Property(name, "bool", "booleancheckbox", options={"true": "Yes", "false": "No"})


def _number(name: str) -> Property:
    return Property(name, "number", "number")


def _build(object_type: ObjectType, standard: list[Property], custom: list[Property]) -> ObjectType:
    """The type with its own properties, those of HubSpot marked as such."""
    hubspot = [*standard, *system_properties(object_type)]
    for own in hubspot:
        own.hubspot_defined = True
    for own in (*hubspot, *custom):
        own.group_name = own.group_name or object_type.default_group
    object_type.properties = {own.name: own for own in (*hubspot, *custom)}
    object_type.default_properties = [*object_type.default_properties, *object_type.system_properties]
    return object_type


def build_custom(object_type: ObjectType, properties: list[Property]) -> ObjectType:
    """A custom object with these properties and the ones HubSpot adds."""
    return _build(object_type, [], properties)


def default_schema() -> Schema:
    """Contacts, companies and courses, and the three custom objects an LMS integration keeps its data in."""
    types = [
        _build(
            ObjectType(
                "0-1",
                "contacts",
                "contact",
                {},
                created_property="createdate",
                modified_property="lastmodifieddate",
                default_properties=["email", "firstname", "lastname"],
                primary="email",
                labels={"singular": "Contact", "plural": "Contacts"},
            ),
            [
                *_text("email", "firstname", "lastname", "phone", "company", "jobtitle", "country"),
                _choice("lifecyclestage", *_STAGES),
                Property("hs_merged_object_ids", read_only=True),
            ],
            [
                *_text("lms_user_id", unique=True),
                *_text("lms_username", "lms_organization", "lms_country"),
                _choice("lms_status", "active", "suspended"),
            ],
        ),
        _build(
            ObjectType(
                "0-2",
                "companies",
                "company",
                {},
                created_property="createdate",
                default_properties=["name", "domain"],
                primary="name",
                labels={"singular": "Company", "plural": "Companies"},
            ),
            _text("name", "domain", "phone", "city", "country"),
            [],
        ),
        _build(
            ObjectType(
                "0-410",
                "courses",
                "course",
                {},
                default_properties=["hs_course_name"],
                required=["hs_course_name"],
                primary="hs_course_name",
                labels={"singular": "Course", "plural": "Courses"},
            ),
            _text("hs_course_name", "hs_course_id"),
            [
                *_text("lms_course_id", unique=True),
                *_text("lms_course_code"),
                _flag("lms_visible"),
                *_moments("lms_starts_at", "lms_ends_at"),
            ],
        ),
        _custom(
            "2-1001",
            "enrollment",
            [
                *_text("lms_role"),
                _choice("lms_status", "active", "invited", "suspended", "expired", "completed", "withdrawn"),
                *_moments("lms_enrolled_at", "lms_starts_at", "lms_ends_at"),
            ],
        ),
        _custom(
            "2-1002",
            "completion",
            [
                _choice("lms_state", "not_started", "in_progress", "completed"),
                _number("lms_progress"),
                *_moments("lms_completed_at"),
                _number("lms_score"),
            ],
        ),
        _custom(
            "2-1003",
            "competency",
            [
                *_text("lms_code", "lms_name", "lms_framework", "lms_rating"),
                _flag("lms_proficient"),
                *_moments("lms_rated_at"),
            ],
        ),
    ]
    # 279/280 are HubSpot's; the ids for courses are unverified, and those of custom objects differ by portal.
    schema = Schema(
        types,
        {
            ("0-1", "0-2"): [AssociationType(279, 280, "HUBSPOT_DEFINED")],
            ("0-2", "0-1"): [AssociationType(280, 279, "HUBSPOT_DEFINED")],
            ("0-1", "0-410"): [AssociationType(860, 861, "HUBSPOT_DEFINED")],
            ("0-410", "0-1"): [AssociationType(861, 860, "HUBSPOT_DEFINED")],
        },
    )
    for custom in ("2-1001", "2-1002", "2-1003"):
        for standard in ("0-1", "0-410"):
            schema.associate_types(custom, standard)
    return schema


def _custom(type_id: str, noun: str, properties: list[Property]) -> ObjectType:
    name = f"lms_{noun}"
    labels = {"singular": f"LMS {noun}", "plural": f"LMS {noun}s"}
    key = Property(f"{name}_id", unique=True)
    return build_custom(ObjectType(type_id, name, name, {}, primary=key.name, labels=labels), [key, *properties])
