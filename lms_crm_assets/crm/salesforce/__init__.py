"""Salesforce: OAuth, SOQL and Bulk queries, sObject Collections and Bulk API 2.0 loads.

`auth` logs in, `session` is the wire, `org` makes a call with a valid session through the gate, `answers` says what an
answer means, `records` what a record looks like, `describe` remembers descriptions, `jobs` are what `bulk` (loading) and
`bulk_query` (reading) have in common, `bulk_csv` is their spelling. Facts: salesforce.
"""

from lms_crm_assets.crm.salesforce.adapter import SalesforceAdapter

__all__ = ["SalesforceAdapter"]
