"""Networks in two halves, `features` and `head`, cut where a filter goes.

Imports attention.split and errors; its foreign door is torchvision.
Law: ``model(x) == head(features(x))``.
"""
