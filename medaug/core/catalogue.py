"""The catalogue of findings: what every code means and what to do about it.

``docs/reference/findings.md`` is written from this table, and a test holds an example of each code against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from medaug.core.findings import Code
from medaug.core.results import Severity


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """What a code says.

    Attributes:
        severities: The severities it may have; the first is the usual one.
        meaning: What was found, in one sentence.
        fix: What a person can do about it, in one sentence.
    """

    severities: tuple[Severity, ...]
    meaning: str
    fix: str


CATALOGUE: Final[dict[Code, Entry]] = {
    Code.MISSING_SLICE: Entry(
        ("refused",),
        "Slices are missing between others of the series.",
        "Export or pull the whole series again.",
    ),
    Code.UNEVEN_SPACING: Entry(
        ("refused",),
        "Slices do not lie at even distances, and no whole number of missing slices explains it.",
        "Export the original series, or resample it onto an even grid first.",
    ),
    Code.DUPLICATE_INSTANCE: Entry(
        ("fixed",),
        "The same instance stands in several files with the same pixels; one is kept.",
        "Nothing; clean up the folder if you like.",
    ),
    Code.CONFLICTING_INSTANCE: Entry(
        ("refused",),
        "Files with one SOPInstanceUID hold different pixels.",
        "Find out which file is the original and take the other away.",
    ),
    Code.CONFLICTING_POSITION: Entry(
        ("refused",),
        "Different images stand at one slice position, and nothing in their headers tells them apart.",
        "Export each volume (time, echo, b-value) as a series of its own.",
    ),
    Code.MIXED_PATIENTS: Entry(
        ("refused",),
        "Several patients stand under one SeriesInstanceUID, or an annotation is of another patient than its image.",
        "Separate them at the source.",
    ),
    Code.MIXED_FRAMES_OF_REFERENCE: Entry(
        ("refused",),
        "Slices of one series lie in several frames of reference, so their positions cannot be compared.",
        "Separate them at the source.",
    ),
    Code.MIXED_MODALITIES: Entry(
        ("refused",),
        "Several modalities or units of intensity stand under one SeriesInstanceUID.",
        "Separate them at the source.",
    ),
    Code.MIXED_ORIENTATION: Entry(
        ("refused",),
        "Slices of one stack have different orientations.",
        "Export scouts and reformats as series of their own.",
    ),
    Code.MIXED_SPACING: Entry(
        ("refused",),
        "Slices of one stack have different pixel spacings.",
        "Export each acquisition as a series of its own.",
    ),
    Code.MIXED_SIZE: Entry(
        ("refused",),
        "Slices of one stack have different numbers of rows or columns.",
        "Export each acquisition as a series of its own.",
    ),
    Code.SCOUT_SEPARATED: Entry(
        ("flagged",),
        "A series holds scouts (localizers) beside its slices; they were read as cases of their own.",
        "Leave the scouts out of the next export.",
    ),
    Code.SEVERAL_VOLUMES: Entry(
        ("flagged",),
        "A series holds several volumes on different grids; each became a case of its own.",
        "Check that each of them is wanted.",
    ),
    Code.MISSING_POSITION: Entry(
        ("refused",),
        "An image of a stack has no ImagePositionPatient.",
        "Export the original series again; other tags cannot replace it.",
    ),
    Code.MISSING_ORIENTATION: Entry(
        ("refused",),
        "An image of a stack has no ImageOrientationPatient.",
        "Export the original series again; other tags cannot replace it.",
    ),
    Code.MISSING_PIXEL_SPACING: Entry(
        ("refused",),
        "An image of a stack has no PixelSpacing.",
        "Export the original series again.",
    ),
    Code.BAD_ORIENTATION: Entry(
        ("refused",),
        "ImageOrientationPatient is no pair of perpendicular unit vectors.",
        "Export the original series again.",
    ),
    Code.BAD_PIXEL_SPACING: Entry(
        ("refused",),
        "PixelSpacing is zero, negative or not finite.",
        "Export the original series again.",
    ),
    Code.NOT_A_VOLUME: Entry(
        ("refused",),
        "All slices of the series lie at one position.",
        "Export each image as a series of its own, or leave the series out.",
    ),
    Code.SINGLE_SLICE: Entry(
        ("flagged",),
        "The series has one slice; its thickness comes from SpacingBetweenSlices or SliceThickness, or is nominal.",
        "Check that the rest of the series was not lost.",
    ),
    Code.GANTRY_TILT: Entry(
        ("fixed", "refused"),
        "Slices are not stacked along their normal; the volume was resampled onto an upright grid.",
        "Nothing, or say --tilt refuse where no interpolated voxel may enter.",
    ),
    Code.CURVED_STACK: Entry(
        ("refused",),
        "The slices of a stack do not lie on one straight line.",
        "Export the original series, or resample it first.",
    ),
    Code.MOSAIC_UNDESCRIBED: Entry(
        ("refused",),
        "A Siemens mosaic has no private (CSA) headers that say where its tiles lie, or they do not fit it.",
        "Export it with private tags, or as single slices.",
    ),
    Code.MOSAIC_REVERSED: Entry(
        ("flagged",),
        "Images of a Siemens mosaic are numbered against its protocol, so that position and protocol contradict each other.",
        "Check its position before other series, segmentations or contours are laid over it.",
    ),
    Code.TRUNCATED_FILE: Entry(
        ("refused",),
        "A file is cut short or damaged.",
        "Copy or export it again.",
    ),
    Code.NO_PIXEL_DATA: Entry(
        ("refused",),
        "A DICOM image has no pixel data.",
        "Export the images, not only their headers.",
    ),
    Code.BAD_PIXEL_FORMAT: Entry(
        ("refused",),
        "The header's bits, samples or photometric interpretation contradict each other or the pixel data.",
        "Export the original series again.",
    ),
    Code.ABSURD_SIZE: Entry(
        ("refused",),
        "The header claims more voxels than the file can hold, or than any scanner makes.",
        "Copy or export it again.",
    ),
    Code.UNSUPPORTED_CLASS: Entry(
        ("refused",),
        "The object is of a DICOM class that is not read.",
        "Export CT, MR, PET, US, CR, DX or MG images, or convert it first.",
    ),
    Code.UNSUPPORTED_TRANSFER_SYNTAX: Entry(
        ("refused",),
        "The pixel data are encoded in a transfer syntax that is not read.",
        "Export uncompressed (Explicit VR Little Endian).",
    ),
    Code.ZERO_RESCALE_SLOPE: Entry(
        ("refused",),
        "RescaleSlope is zero or not finite.",
        "Export the original series again.",
    ),
    Code.RESCALE_MISSING: Entry(
        ("flagged",),
        "A CT names no rescale slope or intercept; its stored values were taken as HU.",
        "Check that air is about -1000.",
    ),
    Code.RESCALE_NOT_HU: Entry(
        ("flagged",),
        "A CT says that its values are not HU; they were taken as arbitrary units.",
        "Ingest it apart from other CT.",
    ),
    Code.MONOCHROME1: Entry(
        ("fixed", "flagged"),
        "The image is stored for inverted display; arbitrary intensities were inverted, HU kept as they are.",
        "Nothing.",
    ),
    Code.COLOUR_CONVERTED: Entry(
        ("fixed",),
        "A colour image was converted to luminance.",
        "Nothing, unless the colours mean something (Doppler, overlays).",
    ),
    Code.SUV_NOT_COMPUTED: Entry(
        ("flagged",),
        "The header of a PET does not allow standardised uptake values; arbitrary units were kept.",
        "Export with weight, dose, half-life and times, and with attenuation and decay correction.",
    ),
    Code.SPACING_AT_DETECTOR: Entry(
        ("flagged",),
        "The only spacing is that at the detector (ImagerPixelSpacing), larger than that in the patient.",
        "Do not read sizes in mm from this image.",
    ),
    Code.UNREADABLE: Entry(
        ("refused",),
        "A file cannot be decoded.",
        "Copy or export it again.",
    ),
    Code.GEOMETRY: Entry(
        ("refused",),
        "The geometry of a file makes no sense.",
        "Correct its header, or export it again.",
    ),
    Code.LABEL: Entry(
        ("refused",),
        "A label map cannot be used as it is.",
        "Correct it at the source.",
    ),
    Code.DATA: Entry(
        ("refused",),
        "The files of a case do not fit together.",
        "See the message.",
    ),
    Code.FOUR_AXES: Entry(
        ("refused",),
        "An image has a fourth axis, and nothing says whether it is time or channels.",
        "Say --frames channels, --frames cases or --frames NUMBER.",
    ),
    Code.TRANSFORM_CONFLICT: Entry(
        ("flagged", "refused"),
        "The sform and the qform of a NIfTI header put the voxels at different places; the sform was used.",
        "Check on an overlay that image and label agree, and correct the header.",
    ),
    Code.ORIENTATION_ASSUMED: Entry(
        ("flagged",),
        "The header says nothing of orientation; the axes were taken as the format's tools take them.",
        "Check left and right on the contact sheet.",
    ),
    Code.SHEARED_GRID: Entry(
        ("refused",),
        "The axes of the grid are not perpendicular, so no distance or size along them is right.",
        "Resample the image and its label onto a grid of perpendicular axes.",
    ),
    Code.PICTURE_TURNED: Entry(
        ("flagged",),
        "The orientation tag of a picture (EXIF) turned its pixels.",
        "Check that the mask was drawn on the picture as it is shown.",
    ),
    Code.UNSUPPORTED_FORMAT: Entry(
        ("refused",),
        "The file is of a format that is not read.",
        "Convert it to NIfTI first.",
    ),
    Code.DEPENDENCY_MISSING: Entry(
        ("refused",),
        "Reading the file needs a package that is not installed.",
        "Install the extra that the message names and ingest again.",
    ),
    Code.FILE_CHANGED: Entry(
        ("refused",),
        "A file is missing, or is not the one that the manifest beside it describes.",
        "Restore it; or take manifest.json away, so that the folder is read without what it knew of the cases.",
    ),
    Code.NOT_FINITE: Entry(
        ("refused",),
        "The image holds NaN or infinite values.",
        "Replace them at the source.",
    ),
    Code.CONSTANT_IMAGE: Entry(
        ("refused",),
        "A channel has one value everywhere.",
        "Export it again.",
    ),
    Code.CHANNEL_GRID: Entry(
        ("refused",),
        "The channels of a case lie on different grids.",
        "Resample them onto one grid first.",
    ),
    Code.SPACING_NOMINAL: Entry(
        ("flagged",),
        "The file gives no spacing; 1 mm is nominal, and no figure in mm is derived from it.",
        "Say --spacing known if 1 mm is right.",
    ),
    Code.SPACING_SUSPECT: Entry(
        ("flagged",),
        "The spacing is exactly 1 x 1 x 1 mm for a thin stack.",
        "Say --spacing nominal if it is not that of the scan.",
    ),
    Code.SOURCE_ROW: Entry(
        ("refused",),
        "What the source says of the case makes no sense.",
        "Correct the row of cases.csv or the file names.",
    ),
    Code.LABEL_GRID: Entry(
        ("refused",),
        "The label map lies on another grid than its image.",
        "Say --resample-labels, or resample it onto the image first.",
    ),
    Code.LABEL_RESAMPLED: Entry(
        ("fixed", "flagged"),
        "The label map was resampled onto its image's grid with nearest neighbour, as asked.",
        "Look at its outlines in the contact sheet.",
    ),
    Code.LABEL_ID_UNKNOWN: Entry(
        ("refused",),
        "The label map holds an id that the class table does not name.",
        "Name it in lesion_classes and label_ids, or with --class-map.",
    ),
    Code.LABEL_NAME_UNKNOWN: Entry(
        ("refused",),
        "A segment or region has a name that the class map does not hold.",
        "Name it in --class-map, or take it out.",
    ),
    Code.LABEL_MISSING: Entry(
        ("flagged", "refused"),
        "An image has no label in a source that has labels, or where labels are required.",
        "Add the label, or keep the case as a host or to predict on.",
    ),
    Code.LABEL_NOT_WHOLE: Entry(
        ("refused",),
        "The label map holds values that are not whole numbers from 0.",
        "Threshold soft segmentations first.",
    ),
    Code.LABEL_EMPTY: Entry(
        ("flagged",),
        "The label map is empty though the case is not said to be lesion-free.",
        "Say lesion_free in cases.csv, or add the missing lesion.",
    ),
    Code.LESION_FREE_LABELLED: Entry(
        ("refused",),
        "The case is said to be lesion-free and has a labelled lesion.",
        "Correct the table or the label.",
    ),
    Code.CLASS_NOT_FOUND: Entry(
        ("flagged",),
        "The table names a class that the label map does not hold.",
        "Check the row and the label.",
    ),
    Code.OVERLAPPING_SEGMENTS: Entry(
        ("refused", "fixed"),
        "Segments of two classes share voxels; a label map holds one class a voxel.",
        "Say --priority with the class that wins first, or take one of the segments out.",
    ),
    Code.REFERENCE_MISSING: Entry(
        ("refused", "flagged"),
        "An annotation refers to images that are not there, or to another frame of reference.",
        "Add the images it was drawn on.",
    ),
    Code.CONTOUR_OFF_SLICE: Entry(
        ("refused", "flagged"),
        "A contour lies on no slice of the image, or is not planar.",
        "Add the missing slices, or export the contours on the image's own slices.",
    ),
    Code.CONTOURS_CROSS: Entry(
        ("flagged", "refused"),
        "Contours of one region overlap in part on a slice, so that what they share cannot be told from a hole.",
        "Redraw them, or export the structure set as a segmentation.",
    ),
    Code.CONTOUR_CUT: Entry(
        ("flagged",),
        "A contour reaches outside the image; what lies outside is cut off.",
        "Nothing, unless a lesion is cut.",
    ),
    Code.CONTOUR_GAPS: Entry(
        ("flagged",),
        "A region has contours on every other slice or fewer, and nothing between them.",
        "Interpolate the contours at the source, if the slices between belong to the region.",
    ),
    Code.CONTOUR_IGNORED: Entry(
        ("flagged",),
        "Points, open curves or contours of fewer than three points enclose nothing and were left out.",
        "Nothing, unless they mark lesions.",
    ),
    Code.SEGMENT_EMPTY: Entry(
        ("flagged",),
        "A segment or region holds no voxel.",
        "Nothing, unless something was drawn there.",
    ),
    Code.FRACTIONS_THRESHOLDED: Entry(
        ("fixed",),
        "The fractions of a soft segmentation became a mask at a threshold.",
        "Choose another with --fraction-threshold.",
    ),
    Code.MASKS_MERGED: Entry(
        ("fixed",),
        "Several mask files of one image were merged into one label map.",
        "Nothing.",
    ),
    Code.DUPLICATE_CASE_ID: Entry(
        ("refused",),
        "The case id stands before, in this table or another source; the first one was kept.",
        "Give each case an id of its own.",
    ),
    Code.ID_CHANGED: Entry(
        ("fixed",),
        "The table's id had other characters than letters, digits, _ and -.",
        "Nothing.",
    ),
    Code.DUPLICATE_IMAGE: Entry(
        ("refused", "flagged"),
        "Two cases have identical voxels; refused under two patients, since splits would leak.",
        "Find out whose scan it is; one patient may have two ids.",
    ),
    Code.PATIENT_IN_SEVERAL_SOURCES: Entry(
        ("flagged",),
        "One patient stands in several sources and is kept as one patient.",
        "Nothing, unless the ids mean different people.",
    ),
    Code.SINGLE_LESION_CLASS: Entry(
        ("flagged",),
        "A class has one lesion only: no split can both train on it and test it.",
        "Annotate more, or merge the class with another.",
    ),
    Code.CLASS_WITHOUT_LESION: Entry(
        ("flagged",),
        "A class of the table has no lesion.",
        "Take it out of the table, or add cases that hold it.",
    ),
    Code.UNIT_DIFFERS: Entry(
        ("refused",),
        "The intensities mean something else than those of most cases.",
        "Ingest them apart, or say --modality.",
    ),
    Code.CHANNELS_DIFFER: Entry(
        ("refused",),
        "The case has other channels than most.",
        "Ingest it apart, or name the channels in a cases.csv.",
    ),
    Code.MODALITY_GUESSED: Entry(
        ("flagged",),
        "Nothing says what the intensities mean; HU was guessed from the values, or arbitrary units taken.",
        "Say --modality.",
    ),
    Code.CLASS_NAMES_MISSING: Entry(
        ("flagged",),
        "Nothing names the label ids; they are called class_1, class_2, ...",
        "Name them with --class-map.",
    ),
    Code.IMAGE_MISSING: Entry(
        ("refused",),
        "A label has no image.",
        "Add the image it was drawn on, or rename the files so that they pair.",
    ),
    Code.DESCRIPTION_DIFFERS: Entry(
        ("flagged",),
        "The description beside the files (dataset.json, participants.tsv) speaks of other cases than were found.",
        "Look whether files were lost, and correct the description.",
    ),
    Code.NOT_AN_IMAGE: Entry(
        ("flagged",),
        "Files that are no images were left out.",
        "Nothing.",
    ),
    Code.UNSUPPORTED_MODALITY: Entry(
        ("refused",),
        "A series is of a modality that is not read.",
        "Leave it out, or convert it to NIfTI first.",
    ),
    Code.ARCHIVE_UNSAFE: Entry(
        ("refused",),
        "An archive is damaged or encrypted, or names files outside itself.",
        "Unpack it by hand and look at it.",
    ),
    Code.ARCHIVE_BOMB: Entry(
        ("refused",),
        "An archive unpacks to far more than it or the disk can hold.",
        "Unpack it by hand if it is trusted.",
    ),
    Code.DICOMDIR_REFERENCE: Entry(
        ("flagged",),
        "A DICOMDIR names files that are not there, or that lie outside its folder.",
        "Copy the whole medium again.",
    ),
    Code.ANISOTROPIC: Entry(
        ("flagged",),
        "Slices lie far wider apart than the pixels in them.",
        "Check the spacing; treat the slices as 2D, or resample.",
    ),
    Code.VOXEL_SIZE: Entry(
        ("flagged",),
        "A voxel is smaller or larger than scanners make them.",
        "Check the spacing of the header, or say --spacing nominal at ingest.",
    ),
    Code.FIELD_OF_VIEW: Entry(
        ("flagged",),
        "The image covers less or more of space than scanners do.",
        "Check the spacing of the header, or say --spacing nominal at ingest.",
    ),
    Code.NOT_HU: Entry(
        ("refused", "flagged"),
        "An image said to be in HU holds values that HU cannot be, such as display greys.",
        "Ingest the original values, or say --modality OT.",
    ),
    Code.HU_RANGE: Entry(
        ("flagged",),
        "Values lie where no tissue, air or metal lies in HU.",
        "Check slope and intercept at the source.",
    ),
    Code.PADDING: Entry(
        ("flagged",),
        "A constant far below the rest fills what the scanner did not see.",
        "Clip the image, for CT at -1024, before statistics are taken.",
    ),
    Code.NEGATIVE_INTENSITY: Entry(
        ("flagged",),
        "An MR image holds negative values, which magnitude images do not.",
        "Check whether it was normalised, is a phase image, or lost its sign bit.",
    ),
    Code.CLIPPED_RANGE: Entry(
        ("flagged",),
        "Many voxels share the highest or lowest value: the range was cut off.",
        "Ingest the original values if what lies beyond the cut matters.",
    ),
    Code.TINY_ISLANDS: Entry(
        ("flagged",),
        "Specks of a few voxels lie apart from the larger lesions of a class.",
        "Look at them in the contact sheet and erase slips of the brush.",
    ),
    Code.HOLES: Entry(
        ("flagged",),
        "A lesion encloses voxels that belong to no class.",
        "Fill them if they are slips of the brush.",
    ),
    Code.LESION_AT_BORDER: Entry(
        ("flagged",),
        "A lesion touches the border of the image and may be cut off.",
        "Do not read its size; use a larger crop if there is one.",
    ),
    Code.TINY_LESION: Entry(
        ("flagged",),
        "All that a case holds of a class is below 3 voxels or 3 mm3.",
        "Check whether it is a lesion or a slip of the brush.",
    ),
    Code.LABEL_OUTSIDE_BODY: Entry(
        ("refused", "flagged"),
        "A labelled lesion lies in the air around the body.",
        "Check that image and label belong together and lie on one grid.",
    ),
    Code.NEAR_DUPLICATE: Entry(
        ("refused", "flagged"),
        "Two images show the same anatomy up to noise, contrast, crop, shift or flip: one patient may have two ids.",
        "Find out whose scan it is and give one patient one id, or take one image out.",
    ),
    Code.LATERALITY_FLIP: Entry(
        ("refused",),
        "Two images of one patient are mirror images of each other.",
        "Find out which side is right and correct the header of the other.",
    ),
    Code.LATERALITY_OUTLIER: Entry(
        ("flagged",),
        "The image fits the others of the set better when mirrored left to right.",
        "Check left and right at the source.",
    ),
    Code.REPEAT_STUDIES: Entry(
        ("flagged",),
        "Patients have several cases.",
        "Check whether they are follow-ups, repeats or parts of one scan; splits keep a patient together.",
    ),
    Code.FEW_PATIENTS: Entry(
        ("flagged",),
        "A class is in fewer patients than there are folds.",
        "Annotate more, ask for fewer folds, or merge the class with another.",
    ),
    Code.SPACING_OUTLIER: Entry(
        ("flagged",),
        "The spacing of a case lies far from that of the others.",
        "Check its header; resample the set onto one spacing.",
    ),
    Code.SEVERAL_MODALITIES: Entry(
        ("flagged",),
        "The set mixes modalities.",
        "Ingest each modality apart, unless the mix is wanted.",
    ),
}
