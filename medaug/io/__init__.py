"""Files on disk and volumes in memory: the only home of LPS, file headers and rescale slopes."""
