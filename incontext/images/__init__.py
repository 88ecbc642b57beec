"""What a person has → planes and labels, and masks back on their own grid. Knows no network."""
