"""Files to tensors: video reader, clip manifest, feature store, synthetic driving clips.

Imports nothing of ours but errors; its foreign doors are decord, av, PIL and cv2.
Law: order, dtype and range are as documented; the numbered test video reads back frame-exact.
"""
