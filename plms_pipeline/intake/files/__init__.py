"""What does intake read from disk, and what does it write there?"""
