"""What a notebook shows of queries and exemplars: images, values, beginnings of texts."""

import base64
import io
import re

import numpy as np
from matplotlib.image import imread

from sklearn_provenance import Explanation

from .test_explanation import make


def test_a_notebook_shows_images():
    images = np.random.default_rng(0).integers(0, 256, (5, 130, 4), dtype=np.uint8)
    exp = make(queries=None, training_data=None, exemplar_labels=None)[:1]
    exp = exp._replace(
        indices=[[4, 1]], scores=[[1, 0.5]], queries=images[:1], training_data=images,
        image_shape=(130, 4),
    )  # fmt: skip
    found = re.findall(r'<img alt="([^"]*)" [^>]*base64,([^"]*)"', exp._repr_html_())
    assert [alt for alt, _ in found] == ["query", "training row 4", "training row 1"]
    drawn = [imread(io.BytesIO(base64.b64decode(data))) * 255 for _, data in found]
    assert [image.shape for image in drawn] == [(44, 2)] * 3  # a third, so that 64 are enough
    assert np.round(drawn[1])[0, 0] == round(images[4, :3, :3].mean())


def test_a_notebook_shows_the_values_in_which_rows_differ():
    data = np.zeros((6, 5))
    data[:, 3] = np.arange(6)
    data[:, 1] = np.arange(6) * 10.0
    exp = Explanation(
        [[5, 2]], [[1.0, 0.5]], queries=data[:1], training_data=data, feature_names=list("abcde")
    )
    html = exp._repr_html_()
    assert "b 50" in html
    assert "d 5" in html
    assert html.count("<div>") == 3  # the query and two exemplars


def test_padding_shows_nothing():
    exp = make(image_shape=(4, 4))
    assert exp._repr_html_().count("<img") == 4 + (exp.indices >= 0).sum()
    assert "<img" not in make(image_shape=(4, 4), queries=None, training_data=None)._repr_html_()
