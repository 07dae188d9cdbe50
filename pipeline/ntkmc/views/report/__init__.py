"""The report: one self-contained page that reads like a short paper."""

from ntkmc.views.report.page import report_html, report_plots, save_plots, write_report

__all__ = ["report_html", "report_plots", "save_plots", "write_report"]
