"""The CRM's own state of the mapped fields, captured before every full reconciliation."""
