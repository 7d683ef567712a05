"""What does the one web page show, and how does it learn that something changed?"""
