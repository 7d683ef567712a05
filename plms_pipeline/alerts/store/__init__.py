"""What the alert engine reads and keeps."""
