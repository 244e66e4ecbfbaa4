"""Software-defined assets that make a CRM agree with an LMS, and prove it."""
