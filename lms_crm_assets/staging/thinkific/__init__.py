"""How a payload of Thinkific becomes canonical texts."""
