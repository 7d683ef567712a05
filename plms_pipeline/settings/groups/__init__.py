"""What can be configured: one module per domain; `composed.py` names them all."""
