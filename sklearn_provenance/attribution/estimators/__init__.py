"""The attributors: thin scikit-learn estimators around models, features and rules."""
