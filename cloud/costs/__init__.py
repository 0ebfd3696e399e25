"""What energy costs: tariffs, and the energy that a meter's register proves."""
