"""What do we know about a (lane, provider), how sure are we, and what will the next task or project take?"""
