"""What does the page ask the books? A handful of statements for all projects together, never one for each."""
