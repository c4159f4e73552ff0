"""Why a row got its probability: exact SHAP values, feature by feature.

::

    rows      rows of a file, explained and told
    members   the ensemble's members, explained each and added up
    treeshap  TreeSHAP for scikit-learn's trees
    figure    an explanation as a picture
"""
