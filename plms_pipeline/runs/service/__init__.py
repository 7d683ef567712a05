"""What does the life of a run keep alive between two calls?"""
