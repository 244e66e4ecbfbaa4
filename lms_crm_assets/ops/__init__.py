"""Operational state: rates kept to and calls made again, towards the LMS and the CRM alike."""
