"""The reconciliation report: what one run found, did and could not do, as one HTML page for people who work with the CRM."""
