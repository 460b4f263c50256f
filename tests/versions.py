"""What differs between the versions of scikit-learn: names of parameters, and a fault of trees."""

import sklearn
from packaging.version import Version
from sklearn.linear_model import LogisticRegression

# Since 1.8 the kind of the penalty follows from its ratio.
if LogisticRegression().penalty == "deprecated":
    L1 = {"l1_ratio": 1}
    L2_CV = {"l1_ratios": (0,), "use_legacy_attributes": False}
else:
    L1 = {"penalty": "l1"}
    L2_CV = {"penalty": "l2"}

# Before, a tree sends some rows with missing values to other leaves than those it was trained on.
TREES_KNOW_MISSING = Version(sklearn.__version__) >= Version("1.9")
