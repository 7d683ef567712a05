"""What can be done with receipts? Import files, write days."""
