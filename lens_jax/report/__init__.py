"""One page that shows what a lens removed, and the numbers of the runs it is compared with."""
