"""How fast are we, compared with what a user would pick instead and with the limit of this machine?"""
