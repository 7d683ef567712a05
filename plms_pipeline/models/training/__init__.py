"""How does a candidate come from bars, without seeing the future?"""
