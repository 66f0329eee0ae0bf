"""Weights files in their usual forms: what a file is, what it holds, and which tensors are the network's.

`formats` tells a file's kind, `outline` reads names and shapes without running code and without torch, `sets`
finds the network's weights among them, and `tensors` reads the numbers.
"""
