"""Whether what Moodle can't find is really gone.

`invalidrecord` says that some record in some table is missing, of a broken course as of a deleted one: only the lists of
courses and users tell which.
"""

from lms_crm_assets.errors import MissingError, ProtocolError
from lms_crm_assets.lms.moodle.client import Client
from lms_crm_assets.lms.moodle.learners import is_mangled


def person_is_gone(client: Client, user_id: int | str) -> bool:
    """Whether there is no living account with this id."""
    found = client.rows("core_user_get_users_by_field", {"field": "id", "values[0]": user_id})
    return all(map(is_mangled, found))


def confirm_gone(
    client: Client, told: MissingError, *, course_id: int | str | None = None, user_id: int | str | None = None
) -> None:
    """Return where the course or the person is gone; `ProtocolError` where what is named is still there."""
    there = []
    if course_id is not None:
        asked = {"field": "id", "value": course_id}
        if not client.rows("core_course_get_courses_by_field", asked, member="courses"):
            return
        there.append(f"the course with the id {course_id}")
    if user_id is not None:
        if person_is_gone(client, user_id):
            return
        there.append(f"the user with the id {user_id}")
    raise ProtocolError(
        f"{client.url}: {told}; but {' and '.join(there)} still exists, so that nothing counts as gone: mend the site's"
        " data, or the plugin that the table belongs to"
    ) from told
