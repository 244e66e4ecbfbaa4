"""How a payload of the changes contract becomes canonical texts."""
