"""`python -m lms_crm_assets` is `lms-crm`."""

from lms_crm_assets.cli import main

main()
