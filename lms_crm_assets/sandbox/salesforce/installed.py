"""The objects of the org: what the LMS package of a customer would have installed."""

from .schema import Field, SObject


def _text(name: str, label: str, length: int, *, required: bool = False) -> Field:
    return Field(name, label, "string", length=length, required=required)


def _key(name: str, label: str) -> Field:
    return Field(name, label, "string", length=64, unique=True, external_id=True, id_lookup=True)


def _picklist(name: str, label: str, values: str) -> Field:
    return Field(name, label, "picklist", length=255, values=tuple(values.split("|")))


def _datetime(name: str, label: str) -> Field:
    return Field(name, label, "datetime")


def _number(name: str, label: str, precision: int, scale: int) -> Field:
    return Field(name, label, "double", precision=precision, scale=scale)


def _checkbox(name: str, label: str) -> Field:
    return Field(name, label, "boolean")


def _auto_name(label: str, pattern: str) -> Field:
    return Field(
        "Name", label, "string", length=80, writable=False, id_lookup=True, name_field=True, auto_number=pattern
    )


def _master(sobject: str) -> Field:
    """Where a merged record points: at the one that outlived it."""
    return Field(
        "MasterRecordId",
        "Master Record ID",
        "reference",
        length=18,
        writable=False,
        refers_to=sobject,
        relationship="MasterRecord",
    )


def _contact(children: str) -> Field:
    return Field(
        "Contact__c",
        "Contact",
        "reference",
        length=18,
        refers_to="Contact",
        relationship="Contact__r",
        children=children,
    )


def _course(children: str) -> Field:
    return Field(
        "Course__c",
        "Course",
        "reference",
        length=18,
        refers_to="LMS_Course__c",
        relationship="Course__r",
        children=children,
    )


OBJECTS = (
    SObject(
        "Account",
        "Account",
        "Accounts",
        "001",
        (_master("Account"), Field("Name", "Account Name", "string", length=255, required=True, name_field=True)),
    ),
    SObject(
        "Contact",
        "Contact",
        "Contacts",
        "003",
        (
            _master("Contact"),
            Field(
                "AccountId",
                "Account ID",
                "reference",
                length=18,
                refers_to="Account",
                relationship="Account",
                children="Contacts",
            ),
            _text("LastName", "Last Name", 80, required=True),
            _text("FirstName", "First Name", 40),
            Field("Name", "Full Name", "string", length=121, writable=False, name_field=True, stored=False),
            Field("Phone", "Business Phone", "phone", length=40),
            Field("Email", "Email", "email", length=80, id_lookup=True),
            _text("Title", "Title", 128),
            _text("Department", "Department", 80),
            Field("Description", "Contact Description", "textarea", length=32000),
            _key("LMS_User_Id__c", "LMS User Id"),
            _text("LMS_Username__c", "LMS Username", 100),
            _text("LMS_Organization__c", "LMS Organization", 255),
            _text("LMS_Country__c", "LMS Country", 2),
            _picklist("LMS_Status__c", "LMS Status", "active|suspended"),
        ),
    ),
    SObject(
        "LMS_Course__c",
        "LMS Course",
        "LMS Courses",
        "a01",
        (
            Field("Name", "Course Name", "string", length=80, required=True, id_lookup=True, name_field=True),
            _key("LMS_Course_Id__c", "LMS Course Id"),
            _text("Code__c", "Code", 100),
            _checkbox("Visible__c", "Visible"),
            _datetime("Starts_At__c", "Starts At"),
            _datetime("Ends_At__c", "Ends At"),
        ),
    ),
    SObject(
        "LMS_Enrollment__c",
        "LMS Enrollment",
        "LMS Enrollments",
        "a02",
        (
            _auto_name("Enrollment Number", "ENR-{:08d}"),
            _key("LMS_Enrollment_Id__c", "LMS Enrollment Id"),
            _contact("LMS_Enrollments__r"),
            _course("LMS_Enrollments__r"),
            _text("Role__c", "Role", 80),
            _picklist("Status__c", "Status", "active|invited|suspended|expired|completed|withdrawn"),
            _datetime("Enrolled_At__c", "Enrolled At"),
            _datetime("Starts_At__c", "Starts At"),
            _datetime("Ends_At__c", "Ends At"),
        ),
    ),
    SObject(
        "LMS_Completion__c",
        "LMS Completion",
        "LMS Completions",
        "a03",
        (
            _auto_name("Completion Number", "CMP-{:08d}"),
            _key("LMS_Completion_Id__c", "LMS Completion Id"),
            _contact("LMS_Completions__r"),
            _course("LMS_Completions__r"),
            _picklist("State__c", "State", "not_started|in_progress|completed"),
            _number("Progress__c", "Progress", 5, 2),
            _datetime("Completed_At__c", "Completed At"),
            _number("Score__c", "Score", 12, 5),
        ),
    ),
    SObject(
        "LMS_Competency__c",
        "LMS Competency",
        "LMS Competencies",
        "a04",
        (
            _auto_name("Competency Number", "CPY-{:08d}"),
            _key("LMS_Competency_Id__c", "LMS Competency Id"),
            _contact("LMS_Competencies__r"),
            _course("LMS_Competencies__r"),
            _text("Code__c", "Code", 100),
            _text("Competency_Name__c", "Competency Name", 255),
            _text("Framework__c", "Framework", 255),
            _text("Rating__c", "Rating", 255),
            _checkbox("Proficient__c", "Proficient"),
            _datetime("Rated_At__c", "Rated At"),
        ),
    ),
)
