"""The use cases of the KPI domain: evaluate an artifact, evaluate the inbox, load the sample warehouse, sum up."""
