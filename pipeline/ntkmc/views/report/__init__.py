"""Report of a study as one self-contained HTML page."""

from ntkmc.views.report.page import report_html, report_plots, save_plots, write_report

__all__ = ["report_html", "report_plots", "save_plots", "write_report"]
