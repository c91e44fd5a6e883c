"""The arrows from video to report, a file each: the one place where the rooms meet.

    synth ─► check ─► extract ─► train ─► evaluate ─► explain          demo runs them all
                                  video ─► explain_video

Every stage leaves its result on disk, and the next one reads it. No mathematics here.
"""
