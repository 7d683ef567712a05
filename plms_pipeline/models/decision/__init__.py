"""What follows from what is known of a model, who must know, and what may be decided? Rules only."""
