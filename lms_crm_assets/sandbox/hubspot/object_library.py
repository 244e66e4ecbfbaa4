"""Which of the objects that an admin has to activate are active.

HubSpot documentation, "Object activation": the API tells, but activating is for the UI alone (here: the option
`courses_active`). Of these objects the sandbox has courses.
"""

from lms_crm_assets.sandbox.hubspot.errors import not_found
from lms_crm_assets.sandbox.hubspot.schema import COURSES, Schema
from lms_crm_assets.sandbox.hubspot.wire import Answer, Call, Endpoint

_OTHERS = ("0-162", "0-420", "0-421")  # services, listings, appointments


class ObjectLibrary:
    """The endpoints `/object-library/…/enablement`."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def endpoints(self) -> list[Endpoint]:
        """On the v3 and the dated paths."""
        return [
            Endpoint("GET", base + path, handler)
            for base in ("/crm/v3/object-library/enablement", "/crm/object-library/{version}/enablement")
            for path, handler in (("", self.list_active), ("/{type}", self.read_active))
        ]

    def list_active(self, _call: Call) -> Answer:
        """Every object that can be activated, and whether it is."""
        return Answer({"enablementByObjectTypeId": self._active()})

    def read_active(self, call: Call) -> Answer:
        """Whether one object is active."""
        active = self._active().get(call.path["type"])
        if active is None:
            raise not_found()
        return Answer({"enablement": active})

    def _active(self) -> dict[str, bool]:
        return {COURSES: self._schema.courses_active, **dict.fromkeys(_OTHERS, False)}
