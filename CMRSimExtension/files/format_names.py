"""What ``--format`` takes, apart from the code that writes it: help texts load nothing heavy."""

NAMED_FORMATS = ("dicom", "dicom-enhanced", "dicom-seg", "nnunet", "monai", "ismrmrd")
