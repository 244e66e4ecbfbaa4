"""Where the contracts' files lie, and how one is read by what needs no side to answer."""

from pathlib import Path

from lms_crm_assets.settings import Settings


class AnyEnviron(dict[str, str]):
    """The environment for what looks at a file alone: a variable that is not set there stands for an address."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return f"https://{name.lower().replace('_', '-')}.not-set"


def tenants_folder() -> Path:
    """The folder of the contracts."""
    return Settings.from_environ().tenants_dir
