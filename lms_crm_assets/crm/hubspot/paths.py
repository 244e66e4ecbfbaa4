"""Where things are, by the version of the API: one setting moves all paths.

`v3` are the paths that hubspot-api-client 12 knows (associations have a v4); the dated ones follow them (HubSpot
changelog: v4 ends 2027-03-30, v1 to v3 are unsupported from September 2027).
"""

from dataclasses import dataclass
from urllib.parse import quote

_V3 = "v3"
# OAuth v1 ends 2027-02-16; the dated token endpoint has one version only.
_TOKEN = {_V3: "/oauth/v3/token"}
_DATED_TOKEN = "/oauth/2026-03/token"  # noqa: S105 - a path


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths of one version: `v3`, or a date as `2026-09`."""

    version: str

    @property
    def token(self) -> str:
        """Where a refresh token is exchanged."""
        return _TOKEN.get(self.version, _DATED_TOKEN)

    def objects(self, to: str, operation: str = "") -> str:
        """The records of an object."""
        return self._of("objects", quote(to, safe=""), operation)

    def properties(self, to: str, operation: str = "") -> str:
        """The properties of an object."""
        return self._of("properties", quote(to, safe=""), operation)

    def associations(self, start: str, end: str, operation: str) -> str:
        """The associations from one object to another."""
        pair = f"{quote(start, safe='')}/{quote(end, safe='')}/{operation}"
        return f"/crm/v4/associations/{pair}" if self.version == _V3 else f"/crm/associations/{self.version}/{pair}"

    def schemas(self, to: str = "", operation: str = "") -> str:
        """The definitions of objects."""
        return _joined(f"/crm-object-schemas/{self.version}/schemas", quote(to, safe=""), operation)

    def activation(self, to: str) -> str:
        """Whether a standard object that has to be activated is (HubSpot documentation, "Object activation")."""
        base = "/crm/v3/object-library" if self.version == _V3 else f"/crm/object-library/{self.version}"
        return _joined(base, "enablement", quote(to, safe=""))

    def _of(self, kind: str, name: str, operation: str) -> str:
        base = f"/crm/v3/{kind}" if self.version == _V3 else f"/crm/{kind}/{self.version}"
        return _joined(base, name, operation)


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)
