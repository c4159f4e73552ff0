"""Why a row got its probability: exact SHAP values, feature by feature.

::

    members   the ensemble's members, explained each and added up
    treeshap  TreeSHAP for scikit-learn's trees
    figure    an explanation as a picture
"""
