"""The nightly report as a page: charts and HTML, made from the summary alone."""
