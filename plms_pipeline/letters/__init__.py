"""What failed, may it be tried again, when, and who put it aside?"""
