"""From the files that runs leave to what people read: statistics, tables, charts and the page.

It reads records and arrays alone; nothing here trains.
"""
