"""A Salesforce org on loopback, as strict as the real one is known to be.

`schema` holds the org's objects, `store` its records, `dml` the rules of writing them, `soql` and `query` the query
language, `records`, `sobject_collections` and `composite` the write resources, `auth` the tokens, `rest` the routes.
"""

from .simulator import SalesforceSimulator

__all__ = ["SalesforceSimulator"]
