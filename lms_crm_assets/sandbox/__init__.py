"""Simulators of an LMS, a Salesforce and a HubSpot over real HTTP on loopback.

The sandbox imports nothing of the product and the product imports nothing of it, so that the two cannot share a
mistake. Each simulator is as strict as the real system is known to be; `core` holds what they have in common: the
`/_sandbox/*` control routes, the request log and the faults.
"""
