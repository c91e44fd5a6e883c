"""Pictures from arrays: overlay, contours, clip strip, contact sheet, video, curves, report.

Imports: nothing of ours; PIL, matplotlib, contourpy, jinja2, av, cv2 and rerun from outside.
Law: never changes a number. A heatmap is rescaled for display alone, and the legend says so.
"""

from caf_video.rendering.animation import MOVING, moving_writer, write_moving
from caf_video.rendering.boxes import draw_box
from caf_video.rendering.charts import bar_chart, histogram, loss_curves
from caf_video.rendering.contact_sheet import SheetRow, contact_sheet
from caf_video.rendering.contours import LEVELS
from caf_video.rendering.curves import threshold_curves, training_curves
from caf_video.rendering.film import film_width, write_film
from caf_video.rendering.footer import Footer
from caf_video.rendering.image_file import RenderingError, write_image
from caf_video.rendering.intervals import IntervalPanel, interval_panels
from caf_video.rendering.legend import heat_legend
from caf_video.rendering.localization_sheet import Answer, SheetImage, localization_sheet
from caf_video.rendering.look_sheet import LookCell, LookRow, look_sheet
from caf_video.rendering.overlay import overlay
from caf_video.rendering.page_charts import Chart, line_chart
from caf_video.rendering.panels import Panel, panel_sheet
from caf_video.rendering.recording import Recording
from caf_video.rendering.report import GalleryItem, Report, render_report, write_report
from caf_video.rendering.results_page import (
    ResultPicture,
    ResultsPage,
    ResultTable,
    SearchResult,
    StudyResult,
    write_results_page,
)
from caf_video.rendering.run_page import FigureTable, PageClip, RunPage, write_run_page
from caf_video.rendering.scale import heat_over, scaled_to_width
from caf_video.rendering.search_page import (
    PageFilm,
    PageMatch,
    SearchPage,
    write_search_page,
)
from caf_video.rendering.strip import (
    ClipCaption,
    NeighbourRow,
    clip_strip,
    frame_title,
    one_above_another,
)
from caf_video.rendering.strip_page import StripOnPage, StripPage, write_strip_page
from caf_video.rendering.video import VideoWriter, write_video

__all__ = [
    "LEVELS",
    "MOVING",
    "LookCell",
    "LookRow",
    "look_sheet",
    "moving_writer",
    "write_moving",
    "Answer",
    "Chart",
    "ClipCaption",
    "Footer",
    "FigureTable",
    "GalleryItem",
    "IntervalPanel",
    "NeighbourRow",
    "Panel",
    "PageClip",
    "PageFilm",
    "PageMatch",
    "RenderingError",
    "Report",
    "ResultPicture",
    "ResultTable",
    "ResultsPage",
    "RunPage",
    "SearchPage",
    "SearchResult",
    "SheetImage",
    "SheetRow",
    "StripOnPage",
    "StripPage",
    "StudyResult",
    "VideoWriter",
    "bar_chart",
    "clip_strip",
    "Recording",
    "contact_sheet",
    "draw_box",
    "film_width",
    "frame_title",
    "heat_legend",
    "heat_over",
    "interval_panels",
    "line_chart",
    "localization_sheet",
    "one_above_another",
    "histogram",
    "localization_sheet",
    "loss_curves",
    "overlay",
    "panel_sheet",
    "render_report",
    "scaled_to_width",
    "threshold_curves",
    "training_curves",
    "write_film",
    "write_image",
    "write_report",
    "write_strip_page",
    "write_run_page",
    "write_results_page",
    "write_search_page",
    "write_video",
]
