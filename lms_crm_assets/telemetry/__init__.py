"""What the product tells of itself while it works: lines of a log, and traces. Figures are kept by `ops.metrics`."""
