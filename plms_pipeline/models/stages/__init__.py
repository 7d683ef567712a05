"""What does each stage of a model's life say of itself, in words that any face can show?"""
