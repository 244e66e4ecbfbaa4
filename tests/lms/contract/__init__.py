"""The suite that every LMS adapter passes."""
