"""Is this installation fit for the next night, and what does a person do when it is not?"""
