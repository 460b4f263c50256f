"""Sizes of the benchmarks of provenance networks: from the command line, else quick or full."""

from _common import parse, parser


def read_sizes(description, quick, full):
    """Whether the run is quick, and its sizes by name.

    `quick` and `full` hold the defaults of `data`, `n_train`, `epochs` and `seeds`, which options
    override, and whatever else depends on the kind of run; `precision` and `models` have an option
    where they hold them.
    """
    data = ", ".join(quick["data"])
    arguments = parser(
        description,
        f"{data}: {quick['n_train']} images, {quick['epochs']} epochs, {quick['seeds']} seed(s)",
    )
    arguments.add_argument("--data", nargs="+", choices=["mnist", "fashion", "cifar10"])
    arguments.add_argument("--width", choices=["small", "medium", "large", "xlarge", "paper"])
    if "precision" in quick:
        arguments.add_argument("--precision", choices=["auto", "float32", "bfloat16"])
    if "models" in quick:
        arguments.add_argument("--models", nargs="+", choices=quick["models"])
    for name in ("n_train", "epochs", "seeds"):
        arguments.add_argument(f"--{name.replace('_', '-')}", type=int)
    options = parse(arguments)
    sizes = quick if options.quick else full
    return options.quick, {name: getattr(options, name, None) or v for name, v in sizes.items()}


def seconds(clf):
    """Seconds of training."""
    return round(sum(epoch["dur"] for epoch in clf.history_), 1)
