"""Personal data: forgetting one learner everywhere, and keeping nothing for longer than the contract says."""
