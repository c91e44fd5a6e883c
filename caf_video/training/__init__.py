"""Lightning modules and data modules: glue, no mathematics.

Imports metric_learning, models, data, retrieval and errors; its foreign door is pytorch_lightning.
Law: a checkpoint holds plain values and loads with ``weights_only=True``.
"""
