"""Rotating the key: everything that lies sealed in a state folder is sealed anew with the present key.

Runs and the receiver go on meanwhile: what they keep counts, whichever key they have seen last.
"""

from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.seal import Resealed
from lms_crm_assets.ops.vault import Vault


def reseal(vault: Vault, inbox: Inbox, most: int | None = None) -> tuple[Resealed, Resealed]:
    """What came of the vault's secrets and of the inbox's events, up to about so many of each.

    It may be stopped at any time and repeated; only when nothing is left, the former key may be taken away.
    """
    return vault.reseal(most), inbox.reseal(most)
