"""Files of annotation tools → labels by class, and masks back into them: one module for each tool.

A module whose tool stores shapes has `recognises(path)`, `read(path)`, a list of `AnnotatedImage`, and
`write(path, images)`; one whose tool stores label maps has `recognises`, `read` or `read_labels`, `LabelLayers`, and
`write` or `write_labels`.
"""
