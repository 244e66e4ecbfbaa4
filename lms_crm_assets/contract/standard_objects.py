"""HubSpot's standard objects, which a contract may call by several names."""

STANDARD_NAMES = {"0-1": "contacts", "contact": "contacts", "0-410": "courses", "course": "courses"}
"""HubSpot names them in the answers by their plural, whatever they were asked by."""


def is_contacts(to: str) -> bool:
    """Whether an object of the contract is HubSpot's contacts, which keep the time of change under a name of their own."""
    return STANDARD_NAMES.get(to, to) == "contacts"


def type_id(to: str) -> str:
    """A standard object's type id, another name as it is."""
    return next(
        (key for key, name in STANDARD_NAMES.items() if key[0].isdigit() and name == STANDARD_NAMES.get(to, to)), to
    )
