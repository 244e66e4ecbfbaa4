"""`lms-crm doctor`: what is wrong between the machine, the LMS and the CRM, and what to do next. Nothing is changed."""
