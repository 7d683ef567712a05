"""Does `plms backup` keep what cannot be made again, and is it known to be whole?"""
