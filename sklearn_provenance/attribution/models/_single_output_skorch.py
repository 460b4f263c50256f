"""One output of skorch's regressors."""

from skorch import NeuralNetRegressor

from ._single_output import SingleOutput, model_of, network_model, output_of


@output_of.register(NeuralNetRegressor)
def _(estimator, output):
    if output < 0:
        raise ValueError(f"output must be 0 or more; got {output}")
    return SingleOutput(estimator, output)


model_of.register(NeuralNetRegressor, network_model)
