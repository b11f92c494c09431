"""The audit: what a folder of images gives away, on one page."""
