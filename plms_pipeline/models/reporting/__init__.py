"""What does a person read about an evaluation, as a page and as Markdown?"""
