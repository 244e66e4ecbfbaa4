"""`python -m lms_crm_assets` is `lms-crm`."""

from lms_crm_assets.cli.app import main

main()
