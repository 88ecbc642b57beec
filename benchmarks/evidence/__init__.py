"""The figures that README and docs state, and the commands that make them anew."""
