"""How :mod:`medaug.io.dicom` reads: frames, stacks of frames, and the pixels of both."""
