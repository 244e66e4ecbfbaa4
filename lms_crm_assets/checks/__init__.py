"""What makes a row valid: rules with stable codes, declared once, in pandera or (across rows) in SQL."""
