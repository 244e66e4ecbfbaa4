"""What a CRM says it hasn't, out of its own words: a name of the contract, never a learner's data."""

import re

# Salesforce: No such column 'X__c' on sobject of type Y. HubSpot: Property "x" does not exist, within JSON within JSON.
_NAMES = re.compile(r"""No such column '([\w.]{1,100})'|Property \\*"([\w]{1,100})\\*" does not exist""", re.ASCII)


def absent_in(message: str | None) -> str:
    """The fields that an error's message says are not there, for people; empty where it names none."""
    found = sorted({column or name for column, name in _NAMES.findall(message or "")})
    return f"there is no {', '.join(found)}" if found else ""
