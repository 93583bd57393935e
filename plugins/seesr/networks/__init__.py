"""What SeeSR is made of."""
