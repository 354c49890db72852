"""The spectrum of fat: its protons resonate at six shifts, not at one.

Peaks of human liver fat at body temperature: Hamilton G et al., *In vivo characterization of the liver fat 1H MR
spectrum*, NMR Biomed 2011;24:784-790. In bSSFP the peaks fall on both sides of a dark band, so a part of fat stays in
phase with water and takes away from the rest.
"""

FAT_PEAKS = ((0.047, 4.0), (0.039, 2.9), (0.006, 1.45), (0.120, 0.8), (0.700, 0.0), (0.088, -0.4))
"""(share of all, shift in ppm from the main peak, that of methylene at 1.3 ppm); water lies at +3.4."""
