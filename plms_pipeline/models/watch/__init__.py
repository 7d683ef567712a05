"""Does what was promoted still behave as what was approved?"""
