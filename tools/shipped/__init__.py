"""What `tools/gallery` makes of the shipped inputs: their runs, pictures, numbers and verdicts, and the page that shows them."""
