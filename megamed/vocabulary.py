"""The words that cards and commands share, each with its few values; costs no import."""

from typing import Literal

Role = Literal["train", "auxiliary", "dev", "heldout"]
"""What a dataset may be used for: to train on, to choose by, or to publish figures of."""
Access = Literal["open", "registration", "request"]
"""How the files of a dataset are got."""
Layout = Literal["folder", "msd", "nnunet", "medsegbench", "dicom", "bids", "table"]
"""How the files of a dataset lie in its folder."""
Split = Literal["train", "val", "test"]
"""The parts that the subjects of a dataset are divided into."""
