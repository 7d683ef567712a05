"""What becomes of a run, an event or an effect that failed for good?"""
