"""How did the money of a project stand, and for how long is that remembered?"""
