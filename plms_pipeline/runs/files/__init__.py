"""What does the life of a run read from and write to the file system?"""
