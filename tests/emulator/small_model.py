"""Save a small MLflow model with pinned requirements: ``small_model.py DIRECTORY``."""

import sys

import mlflow
import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

rng = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "age": rng.integers(18, 80, 200),
        "rate": rng.normal(size=200),
        "job": rng.choice(["a", "b"], 200),
    }
)
y = np.where(X["age"] > 50, "yes", "no")
encoded = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore"), ["job"]), remainder="passthrough"
)
pipeline = make_pipeline(encoded, LogisticRegression(max_iter=1000)).fit(X, y)
mlflow.sklearn.save_model(
    pipeline,
    sys.argv[1],
    input_example=X.head(2),
    signature=mlflow.models.infer_signature(X, y),
    serialization_format="cloudpickle",
    pip_requirements=[
        f"mlflow=={mlflow.__version__}",
        f"numpy=={np.__version__}",
        f"pandas=={pd.__version__}",
        f"scikit-learn=={sklearn.__version__}",
        "azureml-ai-monitoring==1.0.0",
    ],
)
