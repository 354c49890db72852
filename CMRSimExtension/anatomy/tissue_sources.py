"""Where the numbers of the tissue table come from: one key per publication, and one per kind of estimate."""

# Keys that begin with "estimate" say what the estimate stands on; none is a measurement.
SOURCES: dict[str, str] = {
    "dabir2014": (
        "Dabir D et al., Reference values for healthy human myocardium using a T1 mapping methodology: "
        "results from the International T1 Multicenter CMR study. J Cardiovasc Magn Reson 2014;16:69."
    ),
    "granitz2019": (
        "Granitz M et al., Comparison of native myocardial T1 and T2 mapping at 1.5T and 3T in healthy "
        "volunteers. Wien Klin Wochenschr 2019;131:143-155."
    ),
    "roy2017": (
        "Roy C et al., Age and sex corrected normal reference values of T1, T2, T2* and ECV in healthy "
        "subjects at 3T CMR. J Cardiovasc Magn Reson 2017;19:72."
    ),
    "stanisz2005": (
        "Stanisz GJ et al., T1, T2 relaxation and magnetization transfer in tissue at 3T. Magn Reson Med "
        "2005;54:507-512 (in vitro at 37 C: human blood, mouse muscle, rat spinal cord, bovine cartilage)."
    ),
    "lu2004": (
        "Lu H et al., Determining the longitudinal relaxation time (T1) of blood at 3.0 Tesla. Magn Reson Med"
        " 2004;52:679-682 (mean; circulating bovine blood, haematocrit 0.42); between-subject SD from Zhang X et al., "
        "In vivo blood T1 measurements at 1.5 T, 3 T, and 7 T. Magn Reson Med 2013;70:1082-1086."
    ),
    "zhang2013": (
        "Zhang X et al., In vivo blood T1 measurements at 1.5 T, 3 T, and 7 T. Magn Reson Med 2013;70:1082-1086."
    ),
    "debazelaire2004": (
        "de Bazelaire CMJ et al., MR imaging relaxation times of abdominal and pelvic tissues measured in "
        "vivo at 3.0 T: preliminary results. Radiology 2004;230:652-659."
    ),
    "gold2004": (
        "Gold GE et al., Musculoskeletal MRI at 3.0 T: relaxation times and image contrast. AJR Am J "
        "Roentgenol 2004;183:343-351."
    ),
    "rakowpenner2006": (
        "Rakow-Penner R et al., Relaxation times of breast tissue at 1.5T and 3T measured using IDEAL. J Magn"
        " Reson Imaging 2006;23:87-91."
    ),
    "yu2011": (
        "Yu J, Xue Y, Song HK, Comparison of lung T2* during free-breathing at 1.5 T and 3.0 T with "
        "ultrashort echo time imaging. Magn Reson Med 2011;66:248-254."
    ),
    "stadler2005": (
        "Stadler A et al., T1 mapping of the entire lung parenchyma: influence of the respiratory phase in "
        "healthy individuals. J Magn Reson Imaging 2005;21:759-764 (entire lung, suspended expiration)."
    ),
    "wissmann2014": (
        "Wissmann L et al., MRXCAT: realistic numerical phantoms for cardiovascular magnetic resonance. J "
        "Cardiovasc Magn Reson 2014;16:63 (proton densities are its defaults; no SD is published, the one "
        "here is assumed)."
    ),
    "hamilton2011": (
        "Hamilton G et al., In vivo characterization of the liver fat 1H MR spectrum. NMR Biomed 2011;24:784-790 "
        "(main methylene peak at 1.3 ppm, water at 4.7 ppm; the SD is assumed)."
    ),
    "estimate: venous blood": (
        "Estimate: the oxygenated value of Stanisz 2005, its R2 raised by K(1 - Y)^2 (Wright GA et al., J "
        "Magn Reson Imaging 1991;1:275-283; field dependence Chen JJ, Pike GB, Magn Reson Med "
        "2009;61:249-254) with saturation Y = 0.70 and K about 20 /s at 1.5 T and 25 /s at 3 T for the short "
        "refocusing interval of bSSFP. Consistent in direction with ventricular blood at 3 T measured by T2 "
        "preparation (LV 91-99 ms, RV 78-81 ms, Liu CY et al., Int J Cardiovasc Imaging 2025, doi "
        "10.1007/s10554-025-03479-7; the longer refocusing interval shortens both)."
    ),
    "estimate: R2 prime": (
        "Estimate: 1/T2* = 1/T2 + R2', R2' = 22.4 /s at 3 T (difference of the myocardial T2 and T2* of Roy "
        "2017), half of that at 1.5 T."
    ),
    "estimate: smooth muscle": (
        "Estimate: hollow-organ wall, between skeletal muscle (Gold 2004) and myometrium (1309/117 ms at 1.5 "
        "T, 1514/79 ms at 3 T; de Bazelaire 2004)."
    ),
    "estimate: collagen": (
        "Estimate: collagen-rich tissue; T2 near that of cartilage along the fibres (Stanisz 2005)."
    ),
    "estimate: food": ("Estimate: semi-solid meal; deliberately wide."),
    "estimate: thymus": (
        "Estimate: lymphoid tissue with partial fatty involution, between spleen (de Bazelaire 2004) and fat "
        "(Gold 2004)."
    ),
    "estimate: lung T2": (
        "Estimate: T2 of the water in resting lung (collapsed-lung and short-echo spin-echo values lie "
        "between 30 and 80 ms)."
    ),
    "estimate: lung 3 T": ("Estimate: the 1.5 T value raised by 3 %; T1 of lung depends weakly on field."),
    "estimate: bone": (
        "Estimate: T1 140 to 260 ms and T2* 0.42 to 0.50 ms (as ultrashort-echo studies report); T2 is"
        " set equal to T2*."
    ),
    "estimate: lung density": (
        "Estimate: a third of the lung's volume is tissue and blood at the end expiration of a breath hold, "
        "supine, so that lungs are as bright beside the heart as in ACDC."
    ),
    "estimate: lipid protons": (
        "Estimate: adipose tissue holds as many protons per volume as water (11.4 % hydrogen by mass at 0.95 g/ml: "
        "Woodard and White, Br J Radiol 1986;59:1209), nearly all of them mobile."
    ),
    "estimate: water content": ("Estimate: water content relative to muscle (0.80 in Wissmann 2014)."),
    "definition": (
        "By definition: water is the reference, and tissue without mobile protons gives no signal; the "
        "relaxation times of air are placeholders that nothing multiplies but a proton density of 0."
    ),
}
"""Citation by key."""
