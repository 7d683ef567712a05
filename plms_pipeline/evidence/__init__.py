"""Did the evidence come in time?"""
