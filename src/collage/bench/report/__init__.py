"""What results leave: a simulated experiment's folder, and one report of everything in HTML and Markdown."""

from collage.bench.report._build import build_report
from collage.bench.report._store import Result, read_results, write_result, write_table
from collage.bench.report._tail import tail_rows

__all__ = ["Result", "build_report", "read_results", "tail_rows", "write_result", "write_table"]
