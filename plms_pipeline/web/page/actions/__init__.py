"""What is asked of the books for the page?"""
