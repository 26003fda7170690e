"""The papers behind what a study may have used, and their numbering in a text.

A text names a paper by a marker such as ``[@combat]``; `numbered` turns markers into numbers in order of appearance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MARK = re.compile(r"\[@([\w-]+)\]")

REFERENCES = {
    "bootstrap": "Davison AC, Hinkley DV. Bootstrap Methods and their Application. Cambridge University Press, 1997. "
    "doi:10.1017/CBO9780511802843",
    "boruta": "Kursa MB, Rudnicki WR. Feature selection with the Boruta package. J Stat Softw 2010;36(11). "
    "doi:10.18637/jss.v036.i11",
    "combat": "Johnson WE, Li C, Rabinovic A. Adjusting batch effects in microarray expression data using empirical "
    "Bayes methods. Biostatistics 2007;8:118-127. doi:10.1093/biostatistics/kxj037",
    "combat_gam": "Pomponio R, et al. Harmonization of large MRI datasets for the analysis of brain imaging patterns "
    "throughout the lifespan. NeuroImage 2020;208:116450. doi:10.1016/j.neuroimage.2019.116450",
    "combat_radiomics": "Orlhac F, et al. A guide to ComBat harmonization of imaging biomarkers in multicenter "
    "studies. J Nucl Med 2022;63:172-179. doi:10.2967/jnumed.121.262464",
    "covbat": "Chen AA, et al. Mitigating site effects in covariance for machine learning in neuroimaging data. Hum "
    "Brain Mapp 2022;43:1179-1195. doi:10.1002/hbm.25688",
    "curvelet": "Nguyen TT, Chauris H. Uniform discrete curvelet transform. IEEE Trans Signal Process "
    "2010;58:3618-3634.",
    "delong": "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver "
    "operating characteristic curves. Biometrics 1988;44:837-845. doi:10.2307/2531595",
    "dwt3d": "Vallieres M, et al. A radiomics model from joint FDG-PET and MRI texture features for the prediction of "
    "lung metastases in soft-tissue sarcomas of the extremities. Phys Med Biol 2015;60:5471-5496. "
    "doi:10.1088/0031-9155/60/14/5471",
    "gradient_transfer": "Ma J, Chen C, Li C, Huang J. Infrared and visible image fusion via gradient transfer and "
    "total variation minimization. Inf Fusion 2016;31:100-109. doi:10.1016/j.inffus.2016.02.001",
    "guided_filter": "Li S, Kang X, Hu J. Image fusion with guided filtering. IEEE Trans Image Process "
    "2013;22:2864-2875. doi:10.1109/TIP.2013.2244222",
    "ibsi": "Zwanenburg A, et al. The Image Biomarker Standardization Initiative: standardized quantitative radiomics "
    "for high-throughput image-based phenotyping. Radiology 2020;295:328-338. doi:10.1148/radiol.2020191145",
    "icc": "McGraw KO, Wong SP. Forming inferences about some intraclass correlation coefficients. Psychol Methods "
    "1996;1:30-46. doi:10.1037/1082-989X.1.1.30",
    "laplacian": "Burt PJ, Adelson EH. The Laplacian pyramid as a compact image code. IEEE Trans Commun "
    "1983;31:532-540. doi:10.1109/TCOM.1983.1095851",
    "lasso": "Efron B, Hastie T, Johnstone I, Tibshirani R. Least angle regression. Ann Stat 2004;32:407-499. "
    "doi:10.1214/009053604000000067",
    "lda": "Ledoit O, Wolf M. A well-conditioned estimator for large-dimensional covariance matrices. J Multivar Anal "
    "2004;88:365-411. doi:10.1016/S0047-259X(03)00096-4",
    "logistic": "Zou H, Hastie T. Regularization and variable selection via the elastic net. J R Stat Soc B "
    "2005;67:301-320. doi:10.1111/j.1467-9868.2005.00503.x",
    "mattes": "Mattes D, et al. PET-CT image registration in the chest using free-form deformations. IEEE Trans Med "
    "Imaging 2003;22:120-128. doi:10.1109/TMI.2003.809072",
    "mdafuse": "Wen et al. (MdAFuse). IEEE Trans Image Process 2024;33:3550-3563.",
    "mdafuse_published": "Wen et al. (MdAFuse). IEEE Trans Image Process 2024;33:3550-3563.",
    "mrmr": "Ding C, Peng H. Minimum redundancy feature selection from microarray gene expression data. J Bioinform "
    "Comput Biol 2005;3:185-205. doi:10.1142/S0219720005001004",
    "nested_combat": "Horng H, et al. Generalized ComBat harmonization methods for radiomic features with multi-modal "
    "distributions and multiple batch effects. Sci Rep 2022;12:4493. doi:10.1038/s41598-022-08412-9",
    "neurocombat": "Fortin JP, et al. Harmonization of cortical thickness measurements across scanners and sites. "
    "NeuroImage 2018;167:104-120. doi:10.1016/j.neuroimage.2017.11.024",
    "perturbations": "Zwanenburg A, et al. Assessing robustness of radiomic features by image perturbation. Sci Rep "
    "2019;9:614. doi:10.1038/s41598-018-36938-4",
    "pyradiomics": "van Griethuysen JJM, et al. Computational radiomics system to decode the radiographic phenotype. "
    "Cancer Res 2017;77:e104-e107. doi:10.1158/0008-5472.CAN-17-0339",
    "random_forest": "Breiman L. Random forests. Mach Learn 2001;45:5-32. doi:10.1023/A:1010933404324",
    "scikit-learn": "Pedregosa F, et al. Scikit-learn: machine learning in Python. J Mach Learn Res 2011;12:2825-2830.",
    "simpleitk": "Lowekamp BC, Chen DT, Ibanez L, Blezek D. The design of SimpleITK. Front Neuroinform 2013;7:45. "
    "doi:10.3389/fninf.2013.00045",
    "sparse": "Yang B, Li S. Multifocus image fusion and restoration with sparse representation. IEEE Trans Instrum "
    "Meas 2010;59:884-892. doi:10.1109/TIM.2009.2026612",
    "svm": "Cortes C, Vapnik V. Support-vector networks. Mach Learn 1995;20:273-297. doi:10.1007/BF00994018",
    "torch": "Paszke A, et al. PyTorch: an imperative style, high-performance deep learning library. NeurIPS 2019.",
    "xgboost": "Chen T, Guestrin C. XGBoost: a scalable tree boosting system. KDD 2016:785-794. "
    "doi:10.1145/2939672.2939785",
}


def cited(name: str) -> str:
    """Give a name with the marker of its paper; a name without a paper stays as it is.

    Examples
    --------
    >>> cited("xgboost"), cited("average")
    ('xgboost [@xgboost]', 'average')
    """
    return f"{name} [@{name}]" if name in REFERENCES else name


def listed(references: Sequence[str]) -> list[str]:
    """Number references as a list does."""
    return [f"{place}. {reference}" for place, reference in enumerate(references, 1)]


def numbered(text: str) -> tuple[str, list[str]]:
    """Number the markers of a text in order of appearance; give the text and its references.

    Examples
    --------
    >>> numbered("A [@svm], B [@lasso], A again [@svm].")[0]
    'A [1], B [2], A again [1].'
    """
    order = list(dict.fromkeys(MARK.findall(text)))
    papers = list(dict.fromkeys(REFERENCES[name] for name in order))
    return MARK.sub(lambda found: f"[{papers.index(REFERENCES[found[1]]) + 1}]", text), papers
