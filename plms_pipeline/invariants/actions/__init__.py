"""The use cases of the proof: prove the books, open the registry that is to be proven."""
