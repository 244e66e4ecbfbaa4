"""What has to change in the CRM: desired against live, classed by what was last applied."""
