"""Was the work good? KPI validators that measure, gates that judge, receipts that keep both."""
