"""What grows without end and may go? Dagster's history by age, and what nobody needs any more; never the books."""
