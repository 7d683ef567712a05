"""How good is a candidate, out of sample and after costs, and may it be promoted?"""
