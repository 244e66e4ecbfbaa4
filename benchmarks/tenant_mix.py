"""Which tenants `benchmarks.tenants` has: small, medium and large ones, some on one account, some with little of a quota left."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.capacity import Crm
from benchmarks.tenant_day import Member

DAILY = {"hubspot": 250_000, "salesforce": 100_000}
"""The calls that an account has a day: HubSpot's smallest, and an edition of Salesforce with few licences."""

_SHARED_BY = 5
_SHARES = (0.3, 0.6, 0.8)
_CHANGES = (0.01, 0.05, 0.2)
# So many calls are left of what the contract allows, fewer than the first load takes.
_LEFT = 3


def population(number: int, addresses: dict[Crm, list[str]]) -> list[Member]:
    """The tenants, HubSpot's and Salesforce's in turn; every tenth shares its account with four others."""
    free = {crm: iter(found) for crm, found in addresses.items()}
    shared: dict[Crm, Iterator[tuple[str, int]]] = {crm: _places(found) for crm, found in free.items()}
    members = []
    for n in range(number):
        crm: Crm = "hubspot" if n % 2 == 0 else "salesforce"
        if n % 20 in {10, 11}:
            address, first = next(shared[crm])
            member = replace(_member(n, crm, address), objects=("contact",), quota_share=0.6, is_shared=True)
            members.append(replace(member, first=first, learners=150 + 20 * (n % 7)))
        else:
            members.append(_member(n, crm, next(free[crm])))
    return members


def _places(free: Iterator[str]) -> Iterator[tuple[str, int]]:
    """Places in accounts that several share, each with the number of its first learner."""
    for address in free:
        yield from ((address, place * 100_000) for place in range(_SHARED_BY))


def _member(n: int, crm: Crm, address: str) -> Member:
    """A tenant with an account for itself."""
    share = _SHARES[n % 3]
    made = Member(f"t{n:04d}", crm, address, ("contact",), 30 + 10 * (n % 17), 0, _CHANGES[n // 3 % 3], share)
    if n % 20 in {6, 7}:
        return replace(made, learners=400 + n % 100, others=share - _LEFT / DAILY[crm])
    if n % 20 in {8, 9}:
        return replace(made, learners=1_500 + n % 100, burst=share)
    match n % 50:
        case 0 | 1:
            of_all = ("contact", "course", "enrollment", "completion", "competency")
            return replace(made, objects=of_all, learners=500 + 50 * (n % 7))
        case 2 | 3 | 4 | 5:
            return replace(made, objects=("contact", "course", "enrollment"), learners=100 + 10 * (n % 11))
    return made
