"""The second family of models: what a task will take, from who does it, what it is, and what it took others before."""
