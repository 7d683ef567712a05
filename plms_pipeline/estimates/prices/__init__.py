"""What do providers charge, and what does a change of that do to what we believe?"""
