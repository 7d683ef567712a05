"""What is this installation on this machine: its folders and files, its processes, and who started what?"""
