"""Unlimited tasks that nobody labelled: invented anatomies and what scanners make of them."""
