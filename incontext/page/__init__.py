"""The page on which a person draws, sees the other images being segmented, and corrects: its server and its screen."""
