"""Commands of the portfolio: guards, queue, lanes."""
