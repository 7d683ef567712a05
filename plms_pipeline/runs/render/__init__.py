"""What of the life of a run is made into text for people?"""
