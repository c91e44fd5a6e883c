"""Pictures from arrays: overlay, contours, clip strip, video, report.

Imports nothing of ours but errors; its foreign doors are PIL, matplotlib, jinja2, av and cv2.
Law: never changes a number.
"""
