"""Lists of events as annotation tools and the Honda driving dataset keep them, read into clips.

events.py has what all readers share, detect.py tells the formats apart by what a file holds;
elan.py, activitynet.py, via.py, label_studio.py and table.py read one each, and videos.py finds the
files meant. hdd_*.py read HDD: its labels, its sessions and split, its published features.
No pickle is opened and no code of a file is run.
"""
