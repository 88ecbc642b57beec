"""One file to one array, whatever its format."""
