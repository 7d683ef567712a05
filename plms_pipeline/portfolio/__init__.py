"""Who may run how much at once: kill switch, slots, rates and shares over all projects."""
