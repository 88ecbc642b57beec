"""What the shell does with folders: segment one, remember what is done, report and draw it."""
