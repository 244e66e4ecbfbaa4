"""What a person has to hear of, once when it begins and once when it is over."""
