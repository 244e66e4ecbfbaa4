"""The fields of each object of OneRoster 1.2 (REST/JSON binding, 7), as filters, sorting and selection may name them."""

import re

_BASE = "sourcedId status dateLastModified metadata"
_OWN = {
    "org": "name type identifier parent children",
    "user": "userMasterIdentifier username userIds enabledUser givenName familyName middleName preferredFirstName "
    "preferredMiddleName preferredLastName pronouns roles userProfiles primaryOrg identifier email sms phone agents "
    "grades password resources",
    "course": "title schoolYear courseCode grades subjects org subjectCodes resources",
    "class": "title classCode classType location grades subjects course school terms subjectCodes periods resources",
    "enrollment": "user class school role primary beginDate endDate",
    "academicSession": "title startDate endDate type parent children schoolYear",
    "category": "title weight",
    "lineItem": "title description assignDate dueDate class school category gradingPeriod academicSession scoreScale "
    "resultValueMin resultValueMax learningObjectiveSet",
    "result": "lineItem student class scoreScale scoreStatus score textScore scoreDate comment learningObjectiveSet "
    "inProgress incomplete late missing",
    "scoreScale": "title type course class scoreScaleValue",
}
_FIELDS = {kind: frozenset(f"{_BASE} {own}".split()) for kind, own in _OWN.items()}
# What stands within another field; an extension may hold anything.
_INNER = re.compile(r"(metadata\.[\w.]+|[A-Za-z]+\.(sourcedId|href|type)|roles\.(roleType|role|org\.sourcedId))")
TIMES = frozenset({"dateLastModified"})
NUMBERS = frozenset({"score", "resultValueMin", "resultValueMax", "weight"})


def has_field(kind: str, path: str, *, inner: bool = True) -> bool:
    """Whether objects of this kind may have the field, or (`inner`) the field within a field, like `user.sourcedId`."""
    top, dot, _ = path.partition(".")
    return top in _FIELDS[kind] and (not dot or (inner and _INNER.fullmatch(path) is not None))
