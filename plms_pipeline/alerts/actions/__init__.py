"""What the alert engine does: evaluate, deliver, acknowledge, silence, show."""
