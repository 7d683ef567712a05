"""What survives the loss of this machine, and how is it known to be whole? Backups: made, proven, brought back."""
