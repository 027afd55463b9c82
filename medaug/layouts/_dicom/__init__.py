"""How the DICOM layout writes series and segmentations."""
