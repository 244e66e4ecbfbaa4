"""How a Moodle payload becomes canonical texts."""
