"""Users."""

from lms_crm_assets.sandbox.school.integer_ids import integer_id
from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.school.store import Store
from lms_crm_assets.sandbox.thinkific.listings import Listings
from lms_crm_assets.sandbox.thinkific.wire import Call, not_found

_FILTERS = frozenset({"email"})


def with_fraction(moment: str | None) -> str | None:
    """A time as Thinkific writes it, with milliseconds."""
    return None if moment is None else moment.replace("Z", ".000Z")


def full_name(learner: Row) -> str:
    """The whole name."""
    return " ".join(filter(None, (learner["given_name"], learner["family_name"])))


def user_of(store: Store, learner_id: str | None) -> Row | None:
    """A learner who is a user of Thinkific: one that is there and not deleted."""
    learner = store.get("learners", learner_id)
    return None if learner is None or learner["status"] == "deleted" else learner


def users(call: Call, listings: Listings) -> Row:
    """`GET /users`."""
    email = call.filters(_FILTERS).get("email", "").lower()

    def passes(learner: Row) -> bool:
        return learner["status"] != "deleted" and email in {"", (learner["email"] or "").lower()}

    def rows() -> list[Row]:
        return [learner for _, learner in call.store.rows("learners") if passes(learner)]

    def show(row_id: str) -> Row | None:
        learner = call.store.get("learners", row_id)
        return None if learner is None else _user_json(learner)

    return listings.page(call, ("users", email), rows, show)


def user(call: Call) -> Row:
    """`GET /users/:id`."""
    found = user_of(call.store, call.store.row_id("learners", number_of(call)))
    if found is None:
        raise not_found()
    return _user_json(found)


def number_of(call: Call) -> int:
    """The number in the path; 404 for anything else."""
    text = call.path["id"]
    if not (text.isascii() and text.isdigit()):
        raise not_found()
    return int(text)


def _user_json(learner: Row) -> Row:
    country = {"id": integer_id(learner["id"]), "value": learner["country"], "label": "Country"}
    return {
        "id": integer_id(learner["id"]),
        "created_at": with_fraction(learner["updated_at"]),
        "first_name": learner["given_name"],
        "last_name": learner["family_name"],
        "full_name": full_name(learner),
        "company": learner["organization"],
        "email": learner["email"],
        "roles": [],
        "avatar_url": None,
        "bio": None,
        "headline": None,
        "external_source": None,
        "affiliate_code": None,
        "affiliate_commission": None,
        "affiliate_commission_type": "%",
        "affiliate_payout_email": None,
        "administered_course_ids": None,
        "custom_profile_fields": [country | {"custom_profile_field_definition_id": 1}],
    }
