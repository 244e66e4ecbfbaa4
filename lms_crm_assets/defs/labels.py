"""Whom to ask about an asset, what its rows are about and what it touches: the same words on all layers, to select by.

`tag:object=contact` finds the contacts from the LMS to the CRM, `tag:holds=learner-data` whose tables hold personal data,
`tag:writes=crm` what writes there.
"""

from collections.abc import Sequence

import dagster as dg

from lms_crm_assets.domain import CrmObject, LmsEntity

# Teams of Dagster's kind: they are no addresses, and take part in nothing.
_OWNERS = {
    "raw_lms": "team:lms",
    "staging": "team:lms",
    "discovery": "team:crm",
    "crm_snapshot": "team:crm",
    "delta": "team:crm",
    "sync": "team:crm",
}
_OPERATIONS = "team:operations"
_OBJECTS = {
    **{obj.value: obj for obj in CrmObject},
    **{name: obj for obj in CrmObject for name in (obj.entity.value, obj.entity.staging_table)},
    # A completion carries its course's score.
    **dict.fromkeys((LmsEntity.SCORES.value, LmsEntity.SCORES.staging_table), CrmObject.COMPLETION),
}
_ROWS = {"raw_lms", "staging", "crm_snapshot", "delta", "sync"}


def labelled(assets: Sequence[dg.AssetsDefinition]) -> Sequence[dg.AssetsDefinition]:
    """The assets with their owners and tags."""
    return dg.map_asset_specs(_labelled, assets)


def _labelled(spec: dg.AssetSpec) -> dg.AssetSpec:
    layer, name = spec.key.path[0], spec.key.path[-1]
    tags = {}
    if layer in _ROWS and (obj := _OBJECTS.get(name)):
        tags["object"] = obj.value
        if obj is not CrmObject.COURSE:
            tags["holds"] = "learner-data"
        if layer == "sync":
            tags["writes"] = "crm"
    owner = _OWNERS["raw_lms"] if name == "lms_schema" else _OWNERS.get(layer, _OPERATIONS)
    return spec.replace_attributes(owners=[owner], tags={**spec.tags, **tags})
