"""Every exception of the package; the class says what to do next.

    LmsCrmError
    ├── FatalError                a person must act, the same call fails again
    │   ├── ContractError         the tenant's file is missing or wrong
    │   ├── WrongAddressError     nothing, or something else, answers at the address
    │   ├── CredentialError       the credential is missing or refused
    │   ├── PermissionMissingError  the credential may not see or do what is needed
    │   ├── SwitchedOffError      a feature switch of the tenant keeps this from being done
    │   ├── SchemaChangedError    the CRM lacks a field or an object that the contract names, and had it before
    │   └── ProtocolError         the other side answered in a shape that its documentation rules out
    │       └── MissingError      there is no such record or route
    ├── RetryableError            the same call may succeed later
    │   ├── RateLimitedError      … and the other side said so: too fast
    │   │   └── TooManyAtOnceError  too many calls under way
    │   ├── UnreachableError      nothing that speaks the protocol answers, the call was not made
    │   ├── OutcomeUnknownError   the call was made, and what it did is not known
    │   └── PausedError           nothing more is tried in this run: the next one goes on
    │       ├── OutageError       the other side has not answered for minutes
    │       └── QuotaReachedError  the day's calls are used up
    └── BatchRefusedError         the CRM refused a whole batch for its content: smaller batches tell which record

A record that is refused is data, not an exception: see `domain.Outcome`.
"""


class LmsCrmError(Exception):
    """The root: its text is one line for a person, naming what happened, where, and what to do."""


class FatalError(LmsCrmError):
    """A person must act; repeating the call changes nothing."""


class ContractError(FatalError):
    """The tenant's contract is missing, malformed or contradicts itself."""


class WrongAddressError(FatalError):
    """Nothing answers at the configured address, or not the system that the contract names."""


class CredentialError(FatalError):
    """The credential is missing or the other side refuses it."""


class PermissionMissingError(FatalError):
    """The credential is valid but not allowed to do what the contract asks for."""


class SwitchedOffError(FatalError):
    """A feature switch of the tenant, set by a person, keeps this from being done until it is cleared."""


class SchemaChangedError(FatalError):
    """The CRM has no longer what the contract names; what was sent before is in the ledger."""

    def __init__(self, told: str, obj: str = "<object>") -> None:
        super().__init__(
            f"the CRM's schema changed under way: {told}; nothing more is sent. Next: give the CRM back what objects.{obj}"
            " names, or mend the contract; `lms-crm crm schema` shows what changed"
        )


class ProtocolError(FatalError):
    """The other side answered in a shape that its documentation rules out; `status` is the HTTP one where that tells."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class MissingError(ProtocolError):
    """The other side has no such record; of a route, it is not the system that the contract names."""


class RetryableError(LmsCrmError):
    """The same call may succeed later.

    `retry_after_seconds` is what the other side asked for, or None.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RateLimitedError(RetryableError):
    """The other side limits the rate of calls."""


class TooManyAtOnceError(RateLimitedError):
    """The other side limits the calls that are under way at once."""


class OutcomeUnknownError(RetryableError):
    """The call was made, and its answer is missing or says nothing: what it did has to be read back."""


class PausedError(RetryableError):
    """Nothing more is tried in this run."""


class OutageError(PausedError):
    """The other side has not answered for minutes."""


class QuotaReachedError(PausedError):
    """The day's calls are used up, or the share of them that runs may use."""


class UnreachableError(RetryableError):
    """Nothing, or nothing that speaks the protocol, answers; seen by a probe it is a `WrongAddressError`."""


class BatchRefusedError(LmsCrmError):
    """The CRM refused a whole batch for its content, nothing of it was written.

    `detail` is the CRM's own text, which may quote learner data: it goes into outcomes, not into messages.
    """

    def __init__(self, message: str, *, code: str, detail: str) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail
