"""Blind deblurring with an analysis-synthesis pair of networks."""
