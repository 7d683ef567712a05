"""How do bars come from files, and how are they kept?"""
