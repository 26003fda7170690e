"""The features of IBSI-1: their tags, their codes in the reference manual, and the columns that hold them.

Tags are those of MIRP's published reference tables; the codes are the manual's permanent identifiers as MIRP's
documentation lists them (github.com/oncoray/mirp, docs_source/source/features_names.rst).
"""

from dataclasses import dataclass
from functools import lru_cache

# The manual's codes of how texture is merged, as MIRP's documentation lists them.
MERGING_CODES = {
    "2D_avg": "BTW3",
    "2D_comb": "SUJT",
    "2_5D_avg": "JJUI",
    "2_5D_comb": "ZW7Z",
    "3D_avg": "ITBB",
    "3D_comb": "IAZD",
    "2D": "8QNN",
    "2_5D": "62GR",
    "3D": "KOBO",
}
MERGINGS = tuple(MERGING_CODES)

FAMILIES = {
    "morph": "morphology",
    "loc": "local intensity",
    "stat": "statistics",
    "ih": "intensity histogram",
    "ivh": "intensity-volume histogram",
    "cm": "GLCM",
    "rlm": "GLRLM",
    "szm": "GLSZM",
    "dzm": "GLDZM",
    "ngt": "NGTDM",
    "ngl": "NGLDM",
}

# Tag, code, class and feature of the column; those that PyRadiomics has not are marked with +. A column that stands
# for two features holds their common value.
_TABLE = """
morph_volume RNU0 shape_MeshVolume
morph_vol_approx YEKZ shape_VoxelVolume
morph_area_mesh C0JK shape_SurfaceArea
morph_av 2PR5 shape_SurfaceVolumeRatio
morph_comp_1 SKGS shape_Compactness1
morph_comp_2 BQWJ shape_Compactness2
morph_sph_dispr KRCK shape_SphericalDisproportion
morph_sphericity QCFX shape_Sphericity
morph_asphericity 25C7 +shape_Asphericity
morph_com KLMA +shape_CentreOfMassShift
morph_diam L0JK shape_Maximum3DDiameter
morph_pca_maj_axis TDIC shape_MajorAxisLength
morph_pca_min_axis P9VJ shape_MinorAxisLength
morph_pca_least_axis 7J51 shape_LeastAxisLength
morph_pca_elongation Q3CK shape_Elongation
morph_pca_flatness N17B shape_Flatness
morph_vol_dens_aabb PBX1 +shape_VolumeDensityAxisAlignedBox
morph_area_dens_aabb R59B +shape_AreaDensityAxisAlignedBox
morph_vol_dens_ombb ZH1A +shape_VolumeDensityOrientedBox
morph_area_dens_ombb IQYR +shape_AreaDensityOrientedBox
morph_vol_dens_aee 6BDE +shape_VolumeDensityEllipsoid
morph_area_dens_aee RDD2 +shape_AreaDensityEllipsoid
morph_vol_dens_mvee SWZ1 +shape_VolumeDensityEnclosingEllipsoid
morph_area_dens_mvee BRI8 +shape_AreaDensityEnclosingEllipsoid
morph_vol_dens_conv_hull R3ER +shape_VolumeDensityConvexHull
morph_area_dens_conv_hull 7T7F +shape_AreaDensityConvexHull
morph_integ_int 99N0 +shape_IntegratedIntensity
morph_moran_i N365 +shape_MoransI
morph_geary_c NPT7 +shape_GearysC
loc_peak_loc VJGA +localintensity_LocalPeak
loc_peak_glob 0F91 +localintensity_GlobalPeak
stat_mean Q4LE firstorder_Mean
stat_var ECT3 firstorder_Variance
stat_skew KE2A firstorder_Skewness
stat_kurt IPH6 firstorder_Kurtosis
stat_median Y12H firstorder_Median
stat_min 1GSF firstorder_Minimum
stat_p10 QG58 firstorder_10Percentile
stat_p90 8DWT firstorder_90Percentile
stat_max 84IY firstorder_Maximum
stat_iqr SALO firstorder_InterquartileRange
stat_range 2OJQ firstorder_Range
stat_mad 4FUA firstorder_MeanAbsoluteDeviation
stat_rmad 1128 firstorder_RobustMeanAbsoluteDeviation
stat_medad N72L +firstorder_MedianAbsoluteDeviation
stat_cov 7TET +firstorder_CoefficientOfVariation
stat_qcod 9S40 +firstorder_QuartileCoefficientOfDispersion
stat_energy N8CA firstorder_Energy
stat_rms 5ZWQ firstorder_RootMeanSquared
ih_mean X6K6 +histogram_Mean
ih_var CH89 +histogram_Variance
ih_skew 88K1 +histogram_Skewness
ih_kurt C3I7 +histogram_Kurtosis
ih_median WIFQ +histogram_Median
ih_min 1PR8 +histogram_Minimum
ih_p10 GPMT +histogram_10Percentile
ih_p90 OZ0C +histogram_90Percentile
ih_max 3NCY +histogram_Maximum
ih_mode AMMC +histogram_Mode
ih_iqr WR0O +histogram_InterquartileRange
ih_range 5Z3W +histogram_Range
ih_mad D2ZX +histogram_MeanAbsoluteDeviation
ih_rmad WRZB +histogram_RobustMeanAbsoluteDeviation
ih_medad 4RNL +histogram_MedianAbsoluteDeviation
ih_cov CWYJ +histogram_CoefficientOfVariation
ih_qcod SLWD +histogram_QuartileCoefficientOfDispersion
ih_entropy TLU2 firstorder_Entropy
ih_uniformity BJ5W firstorder_Uniformity
ih_max_grad 12CE +histogram_MaximumGradient
ih_max_grad_g 8E6O +histogram_MaximumGradientLevel
ih_min_grad VQB3 +histogram_MinimumGradient
ih_min_grad_g RHQZ +histogram_MinimumGradientLevel
ivh_v10 BC2M +ivh_VolumeFractionAt10Intensity
ivh_v90 BC2M +ivh_VolumeFractionAt90Intensity
ivh_i10 GBPN +ivh_IntensityAt10Volume
ivh_i90 GBPN +ivh_IntensityAt90Volume
ivh_diff_v10_v90 DDTU +ivh_VolumeFractionDifference10To90
ivh_diff_i10_i90 CNV2 +ivh_IntensityDifference10To90
ivh_auc 9CMM +ivh_AreaUnderCurve
cm_joint_max GYBY glcm_MaximumProbability
cm_joint_avg 60VM glcm_JointAverage
cm_joint_var UR99 glcm_SumSquares
cm_joint_entr TU9B glcm_JointEntropy
cm_diff_avg TF7R glcm_DifferenceAverage
cm_diff_var D3YU glcm_DifferenceVariance
cm_diff_entr NTRS glcm_DifferenceEntropy
cm_sum_avg ZGXS glcm_SumAverage
cm_sum_var OEEB glcm_ClusterTendency
cm_sum_entr P6QZ glcm_SumEntropy
cm_energy 8ZQL glcm_JointEnergy
cm_contrast ACUI glcm_Contrast
cm_dissimilarity 8S9J glcm_DifferenceAverage
cm_inv_diff IB1Z glcm_Id
cm_inv_diff_norm NDRX glcm_Idn
cm_inv_diff_mom WF0Z glcm_Idm
cm_inv_diff_mom_norm 1QCO glcm_Idmn
cm_inv_var E8JP glcm_InverseVariance
cm_corr NI2N glcm_Correlation
cm_auto_corr QWB0 glcm_Autocorrelation
cm_clust_tend DG8W glcm_ClusterTendency
cm_clust_shade 7NFM glcm_ClusterShade
cm_clust_prom AE86 glcm_ClusterProminence
cm_info_corr1 R8DG glcm_Imc1
cm_info_corr2 JN9H glcm_Imc2
rlm_sre 22OV glrlm_ShortRunEmphasis
rlm_lre W4KF glrlm_LongRunEmphasis
rlm_lgre V3SW glrlm_LowGrayLevelRunEmphasis
rlm_hgre G3QZ glrlm_HighGrayLevelRunEmphasis
rlm_srlge HTZT glrlm_ShortRunLowGrayLevelEmphasis
rlm_srhge GD3A glrlm_ShortRunHighGrayLevelEmphasis
rlm_lrlge IVPO glrlm_LongRunLowGrayLevelEmphasis
rlm_lrhge 3KUM glrlm_LongRunHighGrayLevelEmphasis
rlm_glnu R5YN glrlm_GrayLevelNonUniformity
rlm_glnu_norm OVBL glrlm_GrayLevelNonUniformityNormalized
rlm_rlnu W92Y glrlm_RunLengthNonUniformity
rlm_rlnu_norm IC23 glrlm_RunLengthNonUniformityNormalized
rlm_r_perc 9ZK5 glrlm_RunPercentage
rlm_gl_var 8CE5 glrlm_GrayLevelVariance
rlm_rl_var SXLW glrlm_RunVariance
rlm_rl_entr HJ9O glrlm_RunEntropy
szm_sze 5QRC glszm_SmallAreaEmphasis
szm_lze 48P8 glszm_LargeAreaEmphasis
szm_lgze XMSY glszm_LowGrayLevelZoneEmphasis
szm_hgze 5GN9 glszm_HighGrayLevelZoneEmphasis
szm_szlge 5RAI glszm_SmallAreaLowGrayLevelEmphasis
szm_szhge HW1V glszm_SmallAreaHighGrayLevelEmphasis
szm_lzlge YH51 glszm_LargeAreaLowGrayLevelEmphasis
szm_lzhge J17V glszm_LargeAreaHighGrayLevelEmphasis
szm_glnu JNSA glszm_GrayLevelNonUniformity
szm_glnu_norm Y1RO glszm_GrayLevelNonUniformityNormalized
szm_zsnu 4JP3 glszm_SizeZoneNonUniformity
szm_zsnu_norm VB3A glszm_SizeZoneNonUniformityNormalized
szm_z_perc P30P glszm_ZonePercentage
szm_gl_var BYLV glszm_GrayLevelVariance
szm_zs_var 3NSA glszm_ZoneVariance
szm_zs_entr GU8N glszm_ZoneEntropy
dzm_sde 0GBI +gldzm_SmallDistanceEmphasis
dzm_lde MB4I +gldzm_LargeDistanceEmphasis
dzm_lgze S1RA +gldzm_LowGrayLevelZoneEmphasis
dzm_hgze K26C +gldzm_HighGrayLevelZoneEmphasis
dzm_sdlge RUVG +gldzm_SmallDistanceLowGrayLevelEmphasis
dzm_sdhge DKNJ +gldzm_SmallDistanceHighGrayLevelEmphasis
dzm_ldlge A7WM +gldzm_LargeDistanceLowGrayLevelEmphasis
dzm_ldhge KLTH +gldzm_LargeDistanceHighGrayLevelEmphasis
dzm_glnu VFT7 +gldzm_GrayLevelNonUniformity
dzm_glnu_norm 7HP3 +gldzm_GrayLevelNonUniformityNormalized
dzm_zdnu V294 +gldzm_ZoneDistanceNonUniformity
dzm_zdnu_norm IATH +gldzm_ZoneDistanceNonUniformityNormalized
dzm_z_perc VIWW +gldzm_ZonePercentage
dzm_gl_var QK93 +gldzm_GrayLevelVariance
dzm_zd_var 7WT1 +gldzm_ZoneDistanceVariance
dzm_zd_entr GBDU +gldzm_ZoneDistanceEntropy
ngt_coarseness QCDE ngtdm_Coarseness
ngt_contrast 65HE ngtdm_Contrast
ngt_busyness NQ30 ngtdm_Busyness
ngt_complexity HDEZ ngtdm_Complexity
ngt_strength 1X9X ngtdm_Strength
ngl_lde SODN gldm_SmallDependenceEmphasis
ngl_hde IMOQ gldm_LargeDependenceEmphasis
ngl_lgce TL9H gldm_LowGrayLevelEmphasis
ngl_hgce OAE7 gldm_HighGrayLevelEmphasis
ngl_ldlge EQ3F gldm_SmallDependenceLowGrayLevelEmphasis
ngl_ldhge JA6D gldm_SmallDependenceHighGrayLevelEmphasis
ngl_hdlge NBZI gldm_LargeDependenceLowGrayLevelEmphasis
ngl_hdhge 9QMG gldm_LargeDependenceHighGrayLevelEmphasis
ngl_glnu FP8K gldm_GrayLevelNonUniformity
ngl_glnu_norm 5SPA +gldm_GrayLevelNonUniformityNormalized
ngl_dcnu Z87G gldm_DependenceNonUniformity
ngl_dcnu_norm OKJI gldm_DependenceNonUniformityNormalized
ngl_dc_perc 6XV8 +gldm_DependencePercentage
ngl_gl_var 1PFV gldm_GrayLevelVariance
ngl_dc_var DNX2 gldm_DependenceVariance
ngl_dc_entr FCBV gldm_DependenceEntropy
ngl_dc_energy CAS9 +gldm_DependenceEnergy
"""


@dataclass(frozen=True)
class Feature:
    """A feature of the reference manual.

    Parameters
    ----------
    tag : its short name, without the merging of texture.
    code : its permanent identifier in the manual.
    name : class and feature of its column, as in ``glcm_Contrast``.
    added : whether PyRadiomics lacks it.
    """

    tag: str
    code: str
    name: str
    added: bool

    @property
    def family(self) -> str:
        """The manual's family, in words."""
        return FAMILIES[self.tag.partition("_")[0]]


@lru_cache(maxsize=1)
def features() -> dict[str, Feature]:
    """Give every feature by its tag."""
    found = {}
    for line in _TABLE.split("\n"):
        if line:
            tag, code, name = line.split()
            found[tag] = Feature(tag, code, name.removeprefix("+"), name.startswith("+"))
    return found


@lru_cache(maxsize=1)
def features_by_name() -> dict[str, tuple[Feature, ...]]:
    """Give the features that a column stands for, by its class and feature."""
    found: dict[str, tuple[Feature, ...]] = {}
    for feature in features().values():
        found[feature.name] = (*found.get(feature.name, ()), feature)
    return found


def split_tag(tag: str) -> tuple[str, str]:
    """Take the merging off a tag, or off a column's name.

    Examples
    --------
    >>> split_tag("cm_contrast_2_5D_avg"), split_tag("stat_mean")
    (('cm_contrast', '2_5D_avg'), ('stat_mean', ''))
    """
    for merging in MERGINGS:
        if tag.endswith(f"_{merging}") and not tag.endswith(f"_2_5D_{merging}"):
            return tag.removesuffix(f"_{merging}"), merging
    return tag, ""
