"""Training in mixed precision: time and accuracy of ResNet-9, with channels first and last.

A quarter of the network's width, CIFAR-10, the recipe of the paper on attribution by information,
one thread. CPU seconds are those of the whole training. Processors and GPUs that multiply bfloat16
matrices gain, others may lose.
"""

import time
from dataclasses import replace

import numpy as np
import torch
from _common import DEVICE, Results, parse, parser
from _images import Images, predict
from _networks import RESNET_RECIPE, resnet9, train

WIDTH = 16


def main():
    options = parse(parser(__doc__, "500 images, 2 epochs, one seed"))
    torch.set_num_threads(options.threads or 1)
    n_train, epochs, seeds = (500, 2, 1) if options.quick else (2500, 12, 3)
    keys = ["n_train", "epochs", "precision", "channels", "seed"]
    results = Results("mixed_precision", keys)
    images = Images("cifar10", n_train)
    X, y = images.inputs()
    X_test = images.as_tensor(images.test_images)
    for seed in range(seeds):
        for precision in ("float32", "bfloat16"):
            for channels in ("first", "last"):
                line = dict(zip(keys, (n_train, epochs, precision, channels, seed), strict=True))
                if results.has(**line):
                    continue
                recipe = replace(RESNET_RECIPE, max_epochs=epochs, precision=precision)
                network = resnet9(seed=seed, width=WIDTH, channels_last=channels == "last")
                start, cpu = time.perf_counter(), time.process_time()
                network = train(network.to(DEVICE), X, y, recipe, seed)
                wall, cpu = time.perf_counter() - start, time.process_time() - cpu
                right = predict(network, X_test) == images.test_y
                results.add(
                    **line,
                    seconds=round(wall, 1),
                    cpu_seconds=round(cpu, 1),
                    test_accuracy=round(float(np.mean(right)), 4),
                )


if __name__ == "__main__":
    main()
