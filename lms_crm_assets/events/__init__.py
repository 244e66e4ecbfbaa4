"""From the inbox to the warehouse: which events a run takes, what they touch, and what becomes of them."""
