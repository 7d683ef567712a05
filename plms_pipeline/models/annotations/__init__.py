"""What do people think of single trades, and what does it teach?"""
