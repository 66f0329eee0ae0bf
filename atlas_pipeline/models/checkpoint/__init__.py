"""Weights files as people have them: what they are, what they hold, which of it is a network's.

`formats` tells a file's kind, `outline` reads names and shapes without running code and without torch,
`sets` finds the weights among them, `tensors` reads the numbers.
"""
