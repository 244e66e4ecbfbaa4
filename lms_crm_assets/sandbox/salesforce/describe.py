"""Describe: the objects and fields as a client discovers them (REST guide, sObject Describe; SOAP guide, Field).

A field is required on create when it is createable, not nillable and not defaulted on create: for Contact, LastName.
"""

from typing import Any

from .schema import TEXT_TYPES, Field, Schema, SObject

_SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "double": "xsd:double",
    "datetime": "xsd:dateTime",
}
_BYTES_PER_CHARACTER = 3


def describe_global(schema: Schema, data_url: str) -> dict[str, Any]:
    """Every object, without its fields."""
    return {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": [_summary(each, data_url) for each in schema]}


def describe_object(schema: Schema, sobject: SObject, data_url: str) -> dict[str, Any]:
    """One object with its fields and child relationships."""
    urls = _summary(sobject, data_url)["urls"] | {
        "defaultValues": f"{data_url}/sobjects/{sobject.name}/defaultValues?recordTypeId&fields",
        "uiDetailTemplate": f"/{{ID}}?object={sobject.name}",
        "uiEditTemplate": f"/{{ID}}/e?object={sobject.name}",
        "uiNewRecord": f"/{sobject.prefix}/e",
    }
    return _summary(sobject, data_url) | {
        "actionOverrides": [],
        "childRelationships": _children(schema, sobject),
        "compactLayoutable": True,
        "extendedFields": None,
        "fields": [describe_field(sobject, field) for field in sobject.fields],
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [
            {
                "active": True,
                "available": True,
                "defaultRecordTypeMapping": True,
                "developerName": "Master",
                "master": True,
                "name": "Master",
                "recordTypeId": "012000000000000AAA",
                "urls": {"layout": f"{data_url}/sobjects/{sobject.name}/describe/layouts/012000000000000AAA"},
            }
        ],
        "searchLayoutable": True,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [{"label": f"All {sobject.plural}", "name": "everything"}],
        "urls": urls,
    }


def describe_field(sobject: SObject, field: Field) -> dict[str, Any]:
    """One field, every key that the REST API gives."""
    text = field.type in TEXT_TYPES
    compound = sobject.name == "Contact" and field.name in {"FirstName", "LastName", "Name"}
    system = not field.stored and not field.name_field
    return {
        "aggregatable": field.type not in {"boolean", "textarea"},
        "aiPredictionField": False,
        "autoNumber": bool(field.auto_number),
        "byteLength": field.length * _BYTES_PER_CHARACTER if text else field.length,
        "calculated": False,
        "calculatedFormula": None,
        "cascadeDelete": False,
        "caseSensitive": False,
        "compoundFieldName": "Name" if compound and field.name != "Name" else None,
        "controllerName": None,
        "createable": field.editable,
        "custom": field.custom,
        "defaultValue": False if field.type == "boolean" else None,
        "defaultValueFormula": None,
        "defaultedOnCreate": field.type == "boolean" or bool(field.auto_number) or system,
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": 0,
        "displayLocationInDecimal": False,
        "encrypted": False,
        "externalId": field.external_id,
        "extraTypeInfo": "personname" if compound and field.name == "Name" else None,
        "filterable": field.type != "textarea",
        "filteredLookupInfo": None,
        "formulaTreatNullNumberAsZero": False,
        "groupable": field.type not in {"double", "datetime", "textarea"},
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": field.id_lookup,
        "inlineHelpText": None,
        "label": field.label,
        "length": field.length,
        "mask": None,
        "maskType": None,
        "name": field.name,
        "nameField": field.name_field,
        "namePointing": field.refers_to == "User",
        "nillable": not (field.required or field.type == "boolean" or field.name_field or system),
        "permissionable": permissionable(field),
        "picklistValues": [
            {
                "active": value not in field.inactive,
                "defaultValue": False,
                "label": value,
                "validFor": None,
                "value": value,
            }
            for value in field.values
        ],
        "polymorphicForeignKey": False,
        "precision": field.precision,
        "queryByDistance": False,
        "referenceTargetField": None,
        "referenceTo": [field.refers_to] if field.refers_to else [],
        "relationshipName": field.relationship or None,
        "relationshipOrder": None,
        "restrictedDelete": False,
        "restrictedPicklist": field.type == "picklist" and field.restricted,
        "scale": field.scale,
        "searchPrefilterable": field.type == "reference",
        "soapType": _SOAP_TYPES.get(field.type, "xsd:string"),
        "sortable": field.type != "textarea",
        "type": field.type,
        "unique": field.unique,
        "updateable": field.editable,
        "writeRequiresMasterRead": False,
    }


def permissionable(field: Field) -> bool:
    """Whether field-level security can be set on it: not on what every record has to have."""
    return field.stored and not (field.required or field.name_field)


def _summary(sobject: SObject, data_url: str) -> dict[str, Any]:
    url = f"{data_url}/sobjects/{sobject.name}"
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": True,
        "custom": sobject.custom,
        "customSetting": False,
        "deepCloneable": False,
        "deletable": True,
        "deprecatedAndHidden": False,
        "feedEnabled": False,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": sobject.prefix,
        "label": sobject.label,
        "labelPlural": sobject.plural,
        "layoutable": True,
        "mergeable": sobject.name in {"Account", "Contact"},
        "mruEnabled": True,
        "name": sobject.name,
        "queryable": True,
        "replicateable": True,
        "retrieveable": True,
        "searchable": True,
        "triggerable": True,
        "undeletable": True,
        "updateable": True,
        "urls": {
            "compactLayouts": f"{url}/describe/compactLayouts",
            "describe": f"{url}/describe",
            "layouts": f"{url}/describe/layouts",
            "rowTemplate": f"{url}/{{ID}}",
            "sobject": url,
        },
    }


def _children(schema: Schema, sobject: SObject) -> list[dict[str, Any]]:
    """The lookups of other objects that point here; those of merged records are not among them."""
    return [
        {
            "cascadeDelete": False,
            "childSObject": child.name,
            "deprecatedAndHidden": False,
            "field": field.name,
            "junctionIdListNames": [],
            "junctionReferenceTo": [],
            "relationshipName": field.children or None,
            "restrictedDelete": False,
        }
        for child in schema
        for field in child.fields
        if field.refers_to == sobject.name and field.children
    ]
