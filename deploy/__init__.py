"""What runs PLMS Pipeline somewhere else than on your desk."""
