"""Parameters that versions of scikit-learn call differently."""

from sklearn.linear_model import LogisticRegression

# Since 1.8 the kind of the penalty follows from its ratio.
if LogisticRegression().penalty == "deprecated":
    L1 = {"l1_ratio": 1}
    L2_CV = {"l1_ratios": (0,), "use_legacy_attributes": False}
else:
    L1 = {"penalty": "l1"}
    L2_CV = {"penalty": "l2"}
