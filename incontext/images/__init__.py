"""Images and labels of a user, read as planes, and masks written back on their own grid. Knows no network."""
