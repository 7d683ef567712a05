"""Which bars does this installation know, how did they come, and what did they replace?"""
