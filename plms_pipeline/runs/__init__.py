"""The life of a run: projects, starts, job cards, completions, rehearsals, replays and session reports."""
