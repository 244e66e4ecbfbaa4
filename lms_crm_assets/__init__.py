"""Software-defined assets that make a CRM agree with an LMS, and prove it."""

import logging

# It tells each address with its query at INFO; a username or an e-mail address may stand in one.
logging.getLogger("httpx").setLevel(logging.WARNING)
