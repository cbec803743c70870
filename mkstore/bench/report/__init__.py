"""The report: ratios, goals, tables and plots."""
