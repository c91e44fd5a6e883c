"""Tables of boxes that are not what they should be."""

from pathlib import Path

import pytest

from caf_video.data.clip_boxes import ClipBoxesError, read_boxes


def test_boxes_that_cannot_be_read_name_the_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    with pytest.raises(ClipBoxesError, match="cannot read .*boxes.csv"):
        read_boxes(path)
    path.write_text("clip_id,frame\n")
    with pytest.raises(ClipBoxesError, match="boxes.csv line 1"):
        read_boxes(path)
    path.write_text("clip_id,frame_index,x1,y1,x2,y2,visible\na,0,1,2,3,x,1\n")
    with pytest.raises(ClipBoxesError, match="boxes.csv line 2: not a box"):
        read_boxes(path)
