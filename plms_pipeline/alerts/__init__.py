"""Who must know that something is wrong, and did they hear of it once?"""
