"""From what is the front door of the guarded Dagster UI put together?"""
