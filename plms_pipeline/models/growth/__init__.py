"""Which runs of trainings and which bars does nobody need any more?"""
