"""Accounts, users, their profiles and logins."""

from collections.abc import Iterator

from lms_crm_assets.sandbox.canvas.paging import bookmarked
from lms_crm_assets.sandbox.canvas.wire import (
    ACCOUNT_ID,
    ACCOUNT_NAME,
    Answer,
    Call,
    Handler,
    bad_request,
    forbidden,
    not_found,
)
from lms_crm_assets.sandbox.school.integer_ids import integer_id
from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.school.store import Position, Store

_SHORTEST_SEARCH = 2


def check_account(call: Call) -> None:
    """Go on for the one account and an admin of it; 404 or 403 otherwise."""
    if call.path["account_id"] not in {str(ACCOUNT_ID), "self"}:
        raise not_found()
    call.need_privilege()


def living(store: Store, learner_id: str | None) -> Row | None:
    """A learner who is a user of Canvas: one that is there and not deleted."""
    learner = store.get("learners", learner_id)
    return None if learner is None or learner["status"] == "deleted" else learner


def learner_id_of(call: Call, text: str) -> str:
    """The learner named by a path or a parameter: a number, `sis_user_id:…`; 404 for one who isn't there."""
    if text.startswith("sis_user_id:"):
        learner_id: str | None = text.removeprefix("sis_user_id:")
    else:
        learner_id = call.store.row_id("learners", int(text)) if text.isascii() and text.isdigit() else None
    if living(call.store, learner_id) is None or learner_id is None:
        raise not_found()
    return learner_id


def display(call: Call, learner: Row) -> Row:
    """The few attributes of a user that stand in listings about something else."""
    number = integer_id(learner["id"])
    return {
        "id": number,
        "display_name": _name(learner),
        "avatar_image_url": f"{call.root}/images/messages/avatar-50.png",
        "html_url": f"{call.root}/users/{number}",
    }


def user_json(learner: Row, *, email: bool = False) -> Row:
    """A user as account admins see it."""
    given, family, known = learner["given_name"], learner["family_name"], learner["status"] != "deleted"
    name = _name(learner)
    user = {
        "id": integer_id(learner["id"]),
        "name": name,
        "created_at": learner["updated_at"],
        "sortable_name": f"{family}, {given}" if given and family else name,
        "short_name": name,
        "first_name": given,
        "last_name": family,
        "sis_user_id": learner["id"] if known else None,
        "integration_id": None,
        "sis_import_id": None,
        "login_id": learner["username"] if known else None,
    }
    return user | {"email": learner["email"]} if email else user


def _name(learner: Row) -> str:
    return " ".join(filter(None, (learner["given_name"], learner["family_name"]))) or learner["username"] or "User"


def _own(call: Call) -> Row:
    viewer = call.viewer
    return {
        "id": viewer.user_id,
        "name": viewer.name,
        "created_at": "2026-01-05T00:00:00Z",
        "sortable_name": ", ".join(reversed(viewer.name.split())),
        "short_name": viewer.name,
    }


def _is_own(call: Call) -> bool:
    return call.path["user_id"] in {"self", str(call.viewer.user_id)}


def _learner(call: Call) -> Row:
    """The learner of the path, for an admin."""
    found = call.store.get("learners", learner_id_of(call, call.path["user_id"]))
    call.need_privilege()
    if found is None:
        raise not_found()
    return found


def _account(call: Call) -> Answer:
    check_account(call)
    return Answer(
        {
            "id": ACCOUNT_ID,
            "name": ACCOUNT_NAME,
            "uuid": "sandbox",
            "parent_account_id": None,
            "root_account_id": None,
            "workflow_state": "active",
            "default_time_zone": "Etc/UTC",
            "sis_account_id": None,
        }
    )


def _users(call: Call) -> Answer:
    check_account(call)
    term, email = call.one("search_term"), "email" in call.many("include")
    if term is not None and len(term) < _SHORTEST_SEARCH:
        raise bad_request("search_term of 2 or more characters is required")

    def rows(after: Position) -> Iterator[tuple[Position, Row]]:
        for place, learner in call.store.rows("learners", after):
            hidden = call.shown is not None and not call.shown(learner["id"])
            if not hidden and learner["status"] != "deleted" and (term is None or _matches(learner, term)):
                yield place, user_json(learner, email=email)

    return Answer(*bookmarked(call, rows))


def _matches(learner: Row, term: str) -> bool:
    fields = (_name(learner), learner["username"], learner["email"], learner["id"])
    return any(term.lower() in text.lower() for text in fields if text) or term == str(integer_id(learner["id"]))


def _user(call: Call) -> Answer:
    more: Row = {"avatar_url": f"{call.root}/images/messages/avatar-50.png", "locale": None, "effective_locale": "en"}
    more |= {"permissions": {"can_update_name": True, "can_update_avatar": False}}
    return Answer((_own(call) if _is_own(call) else user_json(_learner(call), email=True)) | more)


def _profile(call: Call) -> Answer:
    if _is_own(call):
        user = _own(call) | {"login_id": None, "sis_user_id": None, "primary_email": None}
    else:
        learner = _learner(call)
        user = user_json(learner) | {"primary_email": learner["email"]}
    names = ("id", "name", "short_name", "sortable_name", "primary_email", "login_id", "sis_user_id")
    more = {"title": None, "bio": None, "integration_id": None, "time_zone": "Etc/UTC", "locale": None}
    avatar = f"{call.root}/images/messages/avatar-50.png"
    return Answer({name: user[name] for name in names} | more | {"avatar_url": avatar, "effective_locale": "en"})


def _logins(call: Call) -> Answer:
    if _is_own(call):
        raise forbidden()
    learner = _learner(call)
    number = integer_id(learner["id"])
    login = {
        "id": number,
        "user_id": number,
        "account_id": ACCOUNT_ID,
        "unique_id": learner["username"],
        "sis_user_id": learner["id"],
        "integration_id": None,
        "authentication_provider_id": None,
        "created_at": learner["updated_at"],
        "workflow_state": "suspended" if learner["status"] == "suspended" else "active",
    }
    return Answer([login])


ROUTES: dict[str, Handler] = {
    "/api/v1/accounts/{account_id}": _account,
    "/api/v1/accounts/{account_id}/users": _users,
    "/api/v1/users/{user_id}": _user,
    "/api/v1/users/{user_id}/profile": _profile,
    "/api/v1/users/{user_id}/logins": _logins,
}
