"""What runs at the executor is paused while the kill switch is on, and ended when it does not pause."""
