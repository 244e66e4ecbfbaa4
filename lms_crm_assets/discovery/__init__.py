"""What both sides say of themselves, by day, and how that differs from what a person accepted."""
