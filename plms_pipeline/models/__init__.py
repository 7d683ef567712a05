"""The life of a model: from data over training, evaluation and a person's decision to serving and watching."""
