"""How a payload of Canvas becomes canonical texts."""
