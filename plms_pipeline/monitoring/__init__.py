"""Are we still right? The night, its report, and the state of this installation."""
