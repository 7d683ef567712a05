"""The registry's KPI rows, and the foreign database that KPIs measure (read-only)."""
